import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { writeBank } from '../learning/methods/bank.ts';
import type { Bank } from '../learning/methods/method.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import { loadModel } from '../learning/model/registry.ts';
import { startTensors } from '../learning/tensors/backend.ts';
import { Random } from '../learning/training/random.ts';
import { FolderStore } from '../store/folder.ts';
import { publish, streamKeys } from '../store/generations.ts';
import { writePeft } from '../store/peft.ts';
import { pretend } from '../test/pretend.ts';
import { reference } from '../test/reference.ts';
import { listen } from '../test/said.ts';
import { DONE, main } from './main.ts';

/* A published generation answers by whatever it holds: an adapter, or the bank alone. */

const { folder: home } = reference('llava-mha');
const model = join(home, 'model');
let folder: string;
let said: ReturnType<typeof listen>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-predict-'));
  vi.stubEnv('LILORA_STORE', join(folder, 'store'));
  vi.stubEnv('LILORA_CACHE', join(folder, 'cache'));
  vi.stubEnv('TEMPORAL_ADDRESS', undefined);
  said = listen();
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

let layers: Bank['layers'];
beforeAll(async () => {
  await startTensors('tensorflow');
  const base = await loadModel(model);
  layers = base.layers.filter(({ name }) => name.includes('language_model'));
  base.dispose();
});

/** A stream of a method that has learned two tasks. */
async function release(name: string, more: object): Promise<void> {
  const method = methodNamed(name);
  const options = method.options.parse({ rank: 4, alpha: 8, ...more });
  let bank = method.start(layers, options, new Random(1));
  for (const task of ['dogs', 'cats']) bank = pretend(method, bank, task, options, 0.5);
  const adapters = method.fold
    ? bank.tasks.flatMap((task) =>
        writePeft(method.fold!(bank, task), { name: 'base' }).map((file) => ({
          ...file,
          path: `adapters/${task}/${file.path}`,
        })),
      )
    : [];
  const evaluation = {
    learned: bank.tasks.map((task) => ({ task })),
    matrix: { tasks: bank.tasks, zeroShot: [0, 0], rows: [[50], [50, 50]] },
    metrics: {},
  };
  const store = new FolderStore(join(folder, 'store'));
  const definition = { model: { uri: model, digest: 'tiny' }, method: { name, options } };
  await store.put(streamKeys('pets').definition, Buffer.from(JSON.stringify(definition)));
  await publish(store, {
    ...{ stream: 'pets', generation: 1, head: null, lineage: {} },
    files: [
      { path: 'evaluation.json', bytes: Buffer.from(JSON.stringify(evaluation)) },
      { path: 'bank.safetensors', bytes: writeBank(bank) },
      ...adapters,
    ],
  });
}

async function predict(...more: string[]): Promise<number[]> {
  said.stdout = '';
  const image = join(home, '../images/wide.png');
  const code = await main([
    'predict',
    'pets',
    'Which?',
    '--raw',
    '--json',
    '--max-new-tokens',
    '4',
    '--image',
    image,
    ...more,
  ]);
  expect(code, said.stderr).toBe(DONE);
  return (JSON.parse(said.stdout) as { logProbabilities: number[] }).logProbabilities;
}

it('where a task must be named, its adapter answers, and without one the base model', async () => {
  await release('per-task-lora', {});
  const [dogs, cats] = [await predict('--task', 'dogs'), await predict('--task', 'cats')];
  const base = await predict();
  expect(said.stderr).toMatch(/the base model answers/);
  expect([dogs, cats]).not.toContainEqual(base);
  expect(dogs).not.toEqual(cats);
});

it('where no task need be named, the one adapter answers', async () => {
  await release('sequential-lora', {});
  const named = await predict('--task', 'dogs');
  expect(await predict()).toEqual(named);
  expect(said.stderr).toBe('');
});

it('where no PEFT adapter can be, the bank answers', async () => {
  await release('mixlora', { rank: 2, experts: 4 });
  const named = await predict('--task', 'dogs');
  expect(named).toHaveLength(4);
  expect(await predict()).toEqual(named);
});
