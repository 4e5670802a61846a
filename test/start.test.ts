import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readEvaluation } from '../activities/evaluation-file.ts';
import { readTensorMap, writeSafetensors } from '../core/safetensors.ts';
import { readBank } from '../learning/methods/bank.ts';
import { readGeneration } from '../store/generations.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { PEFT_FILES, readPeft } from '../store/peft.ts';
import { reference } from './reference.ts';
import { TestServers } from './servers.ts';
import { startStream, submitDataset, tinyStream, untilSettled, uploadDataset, uploadTinyModel } from './tiny-stream.ts';

/** Streams that start from what was learned elsewhere, on real parts: the bank of another stream, and an adapter of PEFT. */
let servers: TestServers;
let store: ObjectStore;
const small = { train: 12, test: 4 };

beforeAll(async () => {
  servers = await TestServers.start();
  store = await openStore('s3://lilora-test/product');
  await uploadTinyModel();
  await servers.worker('orchestrator');
  await servers.worker('gpu');
});
afterAll(() => servers.stop());

/** `lilora create` of a tiny stream, with a start. */
async function create(stream: string, more: object, ...args: string[]) {
  const { name: _, model, options: __, ...definition } = tinyStream(stream);
  const file = join(servers.folder, `${stream}.json`);
  writeFileSync(file, JSON.stringify({ ...definition, ...more }));
  return servers.run('create', stream, '--model', model, '--options', file, '--json', ...args);
}

async function learn(stream: string, dataset: string, task: string) {
  await submitDataset(servers, stream, dataset);
  const line = await untilSettled(servers, stream, task);
  expect([line.message ?? '', line.status]).toEqual(['', 'published']);
  return readGeneration(store, stream, line.generation!);
}

const bytesOf = async (generation: Awaited<ReturnType<typeof readGeneration>>, path: string) =>
  (await store.get(generation.file(path).key)).bytes;

it('goes on from the bank of another stream: evaluated first, guarded, and published with what is learned on top', async () => {
  const first = await uploadDataset(servers, 'old', { ...small, seed: 20 });
  await startStream(servers, tinyStream('source'));
  const source = await learn('source', first, 'old');
  const file = join(servers.folder, 'elsewhere', 'bank.safetensors');
  mkdirSync(join(servers.folder, 'elsewhere'));
  writeFileSync(file, await bytesOf(source, 'bank.safetensors'));

  const { code, stderr } = await create('next', {}, '--start', file, '--start-data', `old=${first}`);
  expect(code, stderr).toBe(0);
  const begun = await readGeneration(store, 'next', 1);
  expect(begun.file('bank.safetensors').sha256).toBe(source.file('bank.safetensors').sha256);
  expect(await bytesOf(begun, `adapters/old/${PEFT_FILES.weights}`)).toEqual(
    await bytesOf(source, `adapters/old/${PEFT_FILES.weights}`),
  );
  const [was, is] = [await readEvaluation(store, source), await readEvaluation(store, begun)];
  expect(is.matrix).toEqual(was.matrix);

  const second = await learn('next', await uploadDataset(servers, 'new', { ...small, seed: 21 }), 'new');
  const { matrix, learned, gate } = await readEvaluation(store, second);
  expect(matrix.rows.map((row) => row.length)).toEqual([1, 2]);
  expect(learned.map(({ task, generation }) => [task, generation])).toEqual([
    ['old', 1],
    ['new', 2],
  ]);
  expect(gate.at(-1)!.scores.map(({ task }) => task)).toEqual(['old', 'new']);
  expect(second.manifest.lineage['start']).toMatchObject({ tasks: ['old'] });
  expect(readBank(await bytesOf(second, 'bank.safetensors'), 'bank').tasks).toEqual(['old', 'new']);
  const refused = await servers.run('remove', 'next', 'old', '--yes');
  expect(refused.stderr).toContain('came with the bank');
});

it('goes on from an adapter of PEFT', async () => {
  const adapter = join(reference('llava-mha').folder, 'adapter');
  const { code, stdout, stderr } = await create('theirs', {}, '--start', adapter, '--start-task', 'peft');
  expect(code, stderr).toBe(0);
  expect(JSON.parse(stdout).definition).toMatchObject({
    method: { name: 'sequential-lora', options: { rank: 4, alpha: 8 } },
    start: { tasks: ['peft'] },
  });
  const dataset = await uploadDataset(servers, 'ours', { ...small, seed: 22 });
  const generation = await learn('theirs', dataset, 'ours');
  const read = async (task: string) => {
    const [config, weights] = [PEFT_FILES.config, PEFT_FILES.weights].map((name) =>
      bytesOf(generation, `adapters/${task}/${name}`),
    );
    return readPeft(await config!, await weights!, task);
  };
  const local = (name: string) => readFileSync(join(adapter, name));
  const [ours, theirs] = [await read('ours'), readPeft(local(PEFT_FILES.config), local(PEFT_FILES.weights), adapter)];
  const { code: pulled, stderr: why } = await servers.run('pull', 'theirs', join(servers.folder, 'pulled'));
  expect(pulled, why).toBe(0);
  expect(readdirSync(join(servers.folder, 'pulled')).sort()).toEqual(['ours', 'peft']);
  // One adapter for all tasks, and it trained on from theirs: six steps of at most about the learning rate.
  expect(await read('peft')).toEqual(ours);
  for (const [layer, { A }] of ours.layers) {
    const start = theirs.layers.get(layer)!.A.data;
    const moved = A.data.reduce((most, x, i) => Math.max(most, Math.abs(x - start[i]!)), 0);
    expect(moved, layer).toBeGreaterThan(0);
    expect(moved, layer).toBeLessThan(0.02);
  }
});

it('goes on from an adapter that older transformers named, under the names of today', async () => {
  const adapter = join(reference('llava-mha').folder, 'adapter');
  const old = join(servers.folder, 'older');
  mkdirSync(old);
  const config = JSON.parse(readFileSync(join(adapter, PEFT_FILES.config), 'utf8'));
  const own = readTensorMap(readFileSync(join(adapter, PEFT_FILES.weights)), 'adapter');
  const named = [...own].map(([key, tensor]) => {
    const before = key.replace('.model.language_model.', '.language_model.model.').replace('.model.multi', '.multi');
    return [before.replace(/\.weight$/, '.default.weight'), tensor] as const;
  });
  writeFileSync(join(old, PEFT_FILES.weights), writeSafetensors(new Map(named)));
  const wrong = { target_modules: '^language_model.*_proj|multi_modal_projector.*', modules_to_save: [] };
  writeFileSync(join(old, PEFT_FILES.config), JSON.stringify({ ...config, ...wrong }));
  const { code, stdout, stderr } = await create('older', {}, '--start', old);
  expect(code, stderr).toBe(0);
  const { layers } = readPeft(
    readFileSync(join(adapter, PEFT_FILES.config)),
    readFileSync(join(adapter, PEFT_FILES.weights)),
    'adapter',
  );
  const { targets, start } = JSON.parse(stdout).definition;
  expect([...targets].sort()).toEqual([...layers.keys()].sort());
  const bank = readBank((await store.get(start.bank.key)).bytes, 'bank');
  expect(bank.layers.map(({ name }) => name).sort()).toEqual([...layers.keys()].sort());
  for (const [layer, { A }] of layers) {
    const kept = [...bank.tensors].find(([key]) => key.endsWith(`${layer}/lora_A`));
    expect(kept?.[1].data, layer).toEqual(A.data);
  }
});

it('refuses in words that help', async () => {
  const bank = join(servers.folder, 'elsewhere');
  const refusals: Array<[string[], RegExp]> = [
    [['--start', bank, '--method', 'per-task-lora'], /it is of method lilora, not per-task-lora/],
    [['--start', join(reference('llava-mha').folder, 'adapter'), '--method', 'ewc'], /cannot start from an adapter/],
    [['--start-task', 'x'], /name it with --start/],
    [
      ['--start', join(reference('llava-mha').folder, 'adapters/adapter')],
      /vision_tower.*streams learn layers of projector/,
    ],
    [['--start', reference('llava-mha').folder], /adapters below \(.*\): name one/],
    [['--start', join(reference('llava-mha').folder, 'model')], /is a whole model, not an adapter/],
  ];
  for (const [i, [args, message]] of refusals.entries()) {
    const { code, stderr } = await create(`refused-${i}`, {}, ...args);
    expect([code, stderr]).toEqual([1, expect.stringMatching(message)]);
  }
});
