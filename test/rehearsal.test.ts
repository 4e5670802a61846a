import { afterAll, beforeAll, expect, it } from 'vitest';
import { readEvaluation } from '../activities/evaluation-file.ts';
import type { TaskLineage } from '../activities/publish-bank.ts';
import { readGeneration } from '../store/generations.ts';
import { getVerified, type ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import type { StreamDefinition } from '../workflows/contract.ts';
import { TestServers } from './servers.ts';
import { startStream, submitDataset, tinyStream, untilSettled, uploadDataset, uploadTinyModel } from './tiny-stream.ts';

/** Methods that learn from earlier data again or look at data, on real parts: Temporal, S3, worker processes, TensorFlow. */
let servers: TestServers;
let store: ObjectStore;
let datasets: string[];

beforeAll(async () => {
  servers = await TestServers.start();
  store = await openStore('s3://lilora-test/product');
  await uploadTinyModel();
  await Promise.all([servers.worker('orchestrator'), servers.worker('gpu')]);
  datasets = [
    await uploadDataset(servers, 'first', { train: 12, seed: 21 }),
    await uploadDataset(servers, 'second', { train: 10, seed: 22 }),
  ];
});
afterAll(() => servers.stop());

/** Learns both tasks and gives what the second generation says, with the log of the second training. */
async function learnBoth(stream: string, method: string, options: object) {
  const training = { batchSize: 4, epochs: 1, learningRate: 1e-3 };
  const definition: StreamDefinition = {
    ...tinyStream(stream),
    method,
    options: { rank: 4, alpha: 8, ...options },
    training,
  };
  await startStream(servers, definition);
  for (const uri of datasets) await submitDataset(servers, stream, uri);
  expect(await untilSettled(servers, stream, 'second')).toMatchObject({ status: 'published', generation: 2 });
  const generation = await readGeneration(store, stream, 2);
  const [, { metrics }] = generation.manifest.lineage['tasks'] as [TaskLineage, TaskLineage];
  const log = Buffer.from(await getVerified(store, metrics.key, metrics)).toString();
  const steps = log
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { steps: number; rehearsed?: number });
  return { generation, steps, evaluation: await readEvaluation(store, generation) };
}

it('replays a quota of the first task among the samples of the second, and says so in the log', async () => {
  const { generation, steps, evaluation } = await learnBoth('replaying', 'replay', { perTask: 6 });
  // 10 new and 6 old samples in batches of 4.
  expect(steps.map(({ steps }) => steps)).toEqual([4, 4, 4, 4]);
  expect(steps.reduce((sum, { rehearsed }) => sum + 4 * rehearsed!, 0)).toBe(6);
  expect(evaluation.learned.map(({ task, train }) => [task, train?.key.split('/').slice(0, 5).join('/')])).toEqual([
    ['first', 'streams/replaying/tasks/first/prepared'],
    ['second', 'streams/replaying/tasks/second/prepared'],
  ]);
  expect(evaluation.matrix.rows.map((row) => row.length)).toEqual([1, 2]);
  const [first, second] = ['first', 'second'].map((task) =>
    generation.file(`adapters/${task}/adapter_model.safetensors`),
  );
  expect(first!.sha256).toBe(second!.sha256);
});

it('trains anew on all data of all tasks', async () => {
  const { steps } = await learnBoth('joined', 'joint', {});
  expect(steps.length).toBe(Math.ceil(22 / 4));
  expect(steps.reduce((sum, { rehearsed }, i) => sum + (i === 5 ? 2 : 4) * rehearsed!, 0)).toBe(12);
});

it('looks at earlier samples without training on them, and takes what it measured to a published generation', async () => {
  const { generation, steps } = await learnBoth('measured', 'lines', { heldOut: 0.2 });
  // 8 of 10 samples are trained on, in batches of 4.
  expect(steps.map(({ steps, rehearsed }) => [steps, rehearsed])).toEqual([
    [2, 0],
    [2, 0],
  ]);
  const card = Buffer.from(await getVerified(store, generation.file('README.md').key, generation.file('README.md')));
  expect(card.toString()).toContain(
    'looking at up to 20 training samples of each earlier one without training on them',
  );
});

it.each([
  ['ewc', {}],
  ['loda', {}],
  ['treelora', {}],
  ['icm-lora', { snapshots: 2, channels: [4], steps: 6 }],
])('%s looks at data before or after training, and its adapters are published', async (method, options) => {
  const { generation, evaluation } = await learnBoth(`with-${method}`, method, options);
  expect(evaluation.matrix.rows.map((row) => row.length)).toEqual([1, 2]);
  for (const task of ['first', 'second'])
    expect(generation.file(`adapters/${task}/adapter_model.safetensors`).size).toBeGreaterThan(0);
});

it('refuses to train in rounds', async () => {
  const handle = await startStream(servers, { ...tinyStream('rounds'), method: 'replay', training: { workers: 2 } });
  await expect(handle.result()).rejects.toMatchObject({
    cause: { cause: { message: expect.stringContaining('Leave training.workers out') } },
  });
});
