import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RouteResult } from '../activities/engine.ts';
import { readEvaluation } from '../activities/evaluation-file.ts';
import type { RemovedTask } from '../activities/publish-bank.ts';
import type { TaskRemoval } from '../activities/remove-task.ts';
import { readBank } from '../learning/methods/bank.ts';
import { readGeneration, routingPath } from '../store/generations.ts';
import { getVerified, type ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { readPeft } from '../store/peft.ts';
import { QUEUES, SCHEMA, streamWorkflowId } from '../workflows/contract.ts';
import type { SweepInput, SweepResult } from '../workflows/schedule-contract.ts';
import { startLilora } from './command.ts';
import { dangling } from './compaction-suite.ts';
import { TestServers } from './servers.ts';
import { startStream, submitDataset, tinyStream, untilSettled, uploadDataset, uploadTinyModel } from './tiny-stream.ts';

/** Removal of a task, on real parts. */
let servers: TestServers;
let store: ObjectStore;

beforeAll(async () => {
  servers = await TestServers.start();
  store = await openStore('s3://lilora-test/product');
  await uploadTinyModel();
  await Promise.all([servers.worker('orchestrator'), servers.worker('gpu')]);
});
afterAll(() => servers.stop());

/** Runs a verb and reads its JSON. */
async function lilora(...args: string[]): Promise<unknown> {
  const { ended, said } = startLilora(args, { env: servers.env });
  expect(await ended, said.stderr).toBe(0);
  return JSON.parse(said.stdout);
}

async function everyObject(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { key } of store.list(''))
    found.set(key, Buffer.from((await store.get(key)).bytes).toString('latin1'));
  return found;
}

it('leaves nothing of the task in the store, the others as they were, and says so', async () => {
  await startStream(servers, {
    ...tinyStream('pets'),
    router: 'lda',
    training: { batchSize: 4, epochs: 1, learningRate: 1e-3 },
  });
  const uris: string[] = [];
  for (const [i, name] of ['keepfirst', 'secretive', 'keeplast'].entries())
    uris.push(await uploadDataset(servers, name, { train: 8, seed: 31 + i }));
  for (const uri of uris) await submitDataset(servers, 'pets', uri);
  await untilSettled(servers, 'pets', 'keeplast');
  const before = await readGeneration(store, 'pets', 3);
  const scores = (await readEvaluation(store, before)).matrix.rows.at(-1)!;
  const { learned } = await readEvaluation(store, before);
  const secret = learned[1]!;

  // Nobody names the task: a router, of statistics that every task brings, chooses it.
  const { routing } = await readEvaluation(store, before);
  expect(routing!.tasks.map(({ task }) => task)).toEqual(['keepfirst', 'secretive', 'keeplast']);
  for (const { count, chosen, accuracy, score, task } of routing!.tasks) {
    expect(Object.values(chosen).reduce((a, b) => a + b)).toBe(count);
    expect(accuracy).toBe((100 * (chosen[task] ?? 0)) / count);
    expect(score).toBeGreaterThanOrEqual(0);
  }
  expect((await readEvaluation(store, await readGeneration(store, 'pets', 1))).routing!.accuracy).toBe(100);
  const { accuracy, averageScore } = routing!;
  expect(await lilora('status', 'pets', '--json')).toMatchObject({
    routing: { router: 'lda', accuracy, averageScore },
  });
  expect(await lilora('report', 'pets', '--json')).toMatchObject({ routing: JSON.parse(JSON.stringify(routing)) });
  const predicted = (await lilora('predict', 'pets', 'Which colour?', '--json')) as { route: RouteResult };
  expect(Object.keys(predicted.route.scores)).toEqual(['keepfirst', 'secretive', 'keeplast']);
  expect(predicted.route.task).toBe(
    Object.entries(predicted.route.scores).reduce((best, each) => (each[1] > best[1] ? each : best))[0],
  );

  const dir = join(servers.folder, 'merged');
  const mergeOf = async (...tasks: string[]) => {
    const made = await lilora('merge', 'pets', ...tasks, '--how', 'ties', '--lines', '--dir', dir, '--json');
    return (made as { folder: string }).folder;
  };
  const withSecret = await mergeOf('keepfirst', 'secretive');
  const without = await mergeOf('keepfirst', 'keeplast');
  const [config, weights] = ['adapter_config.json', 'adapter_model.safetensors'].map((name) =>
    readFileSync(join(dir, name)),
  );
  expect(readPeft(config!, weights!, dir)).toMatchObject({ rank: 8, alpha: 8 });
  expect(await mergeOf('keepfirst', 'keeplast')).toBe(without);

  const handle = servers.client.workflow.getHandle(streamWorkflowId('pets'));
  const remove = (task: string) => handle.executeUpdate<TaskRemoval, [object]>('removeTask', { args: [{ task }] });
  const removal = (await lilora('remove', 'pets', 'secretive', '--yes', '--json')) as TaskRemoval;
  // LiLoRA's shared factors were trained on it too: only a new stream is without them.
  expect(removal).toMatchObject({ task: 'secretive', generation: 4, traces: ['A', 'B0'] });
  expect(removal.objects).toBeGreaterThan(10);

  const now = await readGeneration(store, 'pets', 4);
  expect((now.manifest.lineage['removed'] as RemovedTask[])[0]).toMatchObject({
    task: 'secretive',
    traces: ['A', 'B0'],
  });
  const evaluation = await readEvaluation(store, now);
  expect(evaluation.learned.map(({ task }) => task)).toEqual(['keepfirst', 'keeplast']);
  expect(evaluation.matrix.rows.at(-1)).toEqual([scores[0], scores[2]]);
  for (const task of ['keepfirst', 'keeplast']) {
    const path = `adapters/${task}/adapter_model.safetensors`;
    expect(now.file(path)).toEqual(before.file(path));
  }
  for (const task of ['keepfirst', 'keeplast'])
    expect(now.file(routingPath(task))).toEqual(before.file(routingPath(task)));
  expect(() => now.file(routingPath('secretive'))).toThrow(/has no file/);
  expect(evaluation.routing).toBeUndefined();
  const ref = now.file('bank.safetensors');
  expect(readBank(await getVerified(store, ref.key, ref), 'bank').tasks).toEqual(['keepfirst', 'keeplast']);

  const objects = await everyObject();
  // What was made from its data: generations 2 and 3, its folder, later banks, answers. What is said of it: that it went.
  const naming = [...objects].filter(([key, text]) => key.includes('secretive') || text.includes('secretive'));
  const allowed =
    /^streams\/pets\/(removals\/4-secretive\.json|generations\/4\/(manifest\.json|README\.md|report\.html|evaluation\.json))$/;
  expect(naming.map(([key]) => key).filter((key) => !allowed.test(key))).toEqual([]);
  expect([...objects].filter(([, text]) => text.includes(secret.test.sha256)).map(([key]) => key)).toEqual([
    'streams/pets/removals/4-secretive.json',
  ]);
  expect(await dangling(store)).toEqual([]);
  expect([...objects.keys()].filter((key) => key.startsWith(withSecret))).toEqual([]);
  expect([...objects.keys()].filter((key) => key.startsWith(without))).toHaveLength(3);
  const answers = [...objects.keys()].filter((key) => key.startsWith('cache/predictions/'));
  const memos = [...objects]
    .filter(([key]) => key.startsWith('cache/evaluations/'))
    .map(([, text]) => JSON.parse(text));
  expect(new Set(memos.map(({ predictions }) => predictions.key))).toEqual(new Set(answers));
  expect(memos.map(({ data }) => data).filter((data) => data === secret.test.sha256)).toEqual([]);
  await expect(readGeneration(store, 'pets', 3)).rejects.toThrow(/has no generation 3/);
  expect((await readGeneration(store, 'pets', 1)).manifest.generation).toBe(1);

  // Its dataset still lies where it was: nobody but a person submits it again.
  const swept = await servers.client.workflow.execute<(input: SweepInput) => Promise<SweepResult>>('sweep', {
    workflowId: 'sweep-after-removal',
    taskQueue: QUEUES.orchestrator,
    args: [{ schema: SCHEMA, stream: 'pets', prefix: 's3://lilora-test/datasets/' }],
  });
  expect(swept).toEqual({ datasets: [], left: 0, known: 3 });

  // The stream goes on from there; the last one may not go.
  await submitDataset(servers, 'pets', await uploadDataset(servers, 'later', { train: 8, seed: 40 }));
  expect(await untilSettled(servers, 'pets', 'later')).toMatchObject({ status: 'published', generation: 5 });
  const fifth = await readGeneration(store, 'pets', 5);
  expect(fifth.manifest.lineage['removed']).toHaveLength(1);
  expect((await readEvaluation(store, fifth)).routing!.tasks.map(({ task }) => task)).toEqual([
    'keepfirst',
    'keeplast',
    'later',
  ]);
  for (const task of ['later', 'keeplast']) await remove(task);
  await expect(remove('keepfirst')).rejects.toMatchObject({
    cause: { cause: { message: expect.stringContaining('is the only task') } },
  });
  expect(await dangling(store)).toEqual([]);
});
