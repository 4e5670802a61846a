import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { writeBank } from '../learning/methods/bank.ts';
import { readReleasedBank } from '../learning/methods/lilora/released-bank.ts';
import { FolderStore } from '../store/folder.ts';
import { publish, readHead } from '../store/generations.ts';
import { published } from './generations.ts';
import { DONE, main } from './main.ts';
import { pullAdapter } from './verbs/pull.ts';

let folder: string;
let store: FolderStore;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-pull-'));
  store = new FolderStore(join(folder, 'store'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Publishes a generation that knows one task. */
async function release(number: number, task: string, weights: string | null) {
  const evaluation = { learned: [{ task }], matrix: { tasks: [task], zeroShot: [0], rows: [[50]] }, metrics: {} };
  const files = {
    'evaluation.json': JSON.stringify(evaluation),
    ...(weights !== null && {
      [`adapters/${task}/adapter_config.json`]: '{}',
      [`adapters/${task}/adapter_model.safetensors`]: weights,
    }),
  };
  await publish(store, {
    stream: 'pets',
    generation: number,
    head: await readHead(store, 'pets'),
    files: Object.entries(files).map(([path, text]) => ({ path, bytes: Buffer.from(text) })),
    lineage: {},
  });
}

const pull = async () => pullAdapter(store, 'pets', await published(store, 'pets'), 'dogs', join(folder, 'out'));
const weights = () => readFileSync(join(folder, 'out/dogs/adapter_model.safetensors'), 'utf8');

it('a pulled adapter is replaced as a whole, and nothing else is left beside it', async () => {
  await release(1, 'dogs', 'one');
  await pull();
  expect(weights()).toBe('one');
  writeFileSync(join(folder, 'out/dogs/notes.txt'), 'mine');
  await pull();
  expect(existsSync(join(folder, 'out/dogs/notes.txt'))).toBe(true);
  await release(2, 'dogs', 'two');
  await pull();
  expect(weights()).toBe('two');
  expect(readdirSync(join(folder, 'out'))).toEqual(['dogs']);
  expect(JSON.parse(readFileSync(join(folder, 'out/dogs/lilora.json'), 'utf8'))).toMatchObject({
    stream: 'pets',
    generation: 2,
  });
});

it('a damaged adapter is refused and the old one stays', async () => {
  await release(1, 'dogs', 'one');
  await pull();
  await release(2, 'dogs', 'two');
  await store.put('streams/pets/generations/2/adapters/dogs/adapter_model.safetensors', Buffer.from('bad'));
  await expect(pull()).rejects.toMatchObject({ name: 'IntegrityError' });
  expect(weights()).toBe('one');
  expect(readdirSync(join(folder, 'out'))).toEqual(['dogs']);
});

it('a task whose name would leave the folder is refused', async () => {
  const evaluation = { learned: [{ task: '../../x' }], matrix: { tasks: [], zeroShot: [], rows: [] }, metrics: {} };
  await publish(store, {
    stream: 'pets',
    generation: 1,
    head: null,
    files: [{ path: 'evaluation.json', bytes: Buffer.from(JSON.stringify(evaluation)) }],
    lineage: {},
  });
  await expect(published(store, 'pets')).rejects.toThrow(/names a task "\.\.\/\.\.\/x"/);
});

it('a method without PEFT adapters is named as the reason', async () => {
  await release(1, 'dogs', null);
  await expect(pull()).rejects.toThrow(/Generation 1 holds no PEFT adapter of dogs: no ordinary LoRA computes/);
});

it("the bank of a generation goes out as one of the authors' released code", async () => {
  const theirs = new URL('../test/fixtures/released-bank/bank.safetensors', import.meta.url);
  const names = ['a', 'b', 'c'];
  const bank = readReleasedBank(readFileSync(theirs), 'theirs', names);
  const evaluation = {
    learned: names.map((task) => ({ task })),
    matrix: { tasks: names, zeroShot: [], rows: [] },
    metrics: {},
  };
  const files = [
    { path: 'evaluation.json', bytes: Buffer.from(JSON.stringify(evaluation)) },
    { path: 'bank.safetensors', bytes: writeBank(bank) },
  ];
  await publish(store, { stream: 'pets', generation: 1, head: null, files, lineage: {} });
  vi.stubEnv('LILORA_STORE', join(folder, 'store'));
  vi.stubEnv('TEMPORAL_ADDRESS', undefined);
  const said = vi.spyOn(process.stdout, 'write').mockImplementation(() => true);
  try {
    expect(await main(['bank', 'export', 'pets', join(folder, 'out.safetensors')])).toBe(DONE);
    expect(readReleasedBank(readFileSync(join(folder, 'out.safetensors')), 'out', names)).toEqual(bank);
  } finally {
    said.mockRestore();
    vi.unstubAllEnvs();
  }
});
