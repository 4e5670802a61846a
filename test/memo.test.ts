import { afterAll, beforeAll, expect, it } from 'vitest';
import { readEvaluation } from '../activities/evaluation-file.ts';
import { readLines } from '../activities/json-lines.ts';
import { readGeneration } from '../store/generations.ts';
import { getVerified, type ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { type StreamDefinition, taskWorkflowId } from '../workflows/contract.ts';
import { TestServers } from './servers.ts';
import { startStream, submitDataset, tinyStream, untilSettled, uploadDataset, uploadTinyModel } from './tiny-stream.ts';

/** What is evaluated once and never again, and what is evaluated on a part of its test split: on real parts. */
let servers: TestServers;
let store: ObjectStore;
let uris: string[];

beforeAll(async () => {
  servers = await TestServers.start();
  store = openStore('s3://lilora-test/product');
  await uploadTinyModel();
  uris = [];
  for (const [i, name] of ['one', 'two', 'three'].entries())
    uris.push(await uploadDataset(servers, name, { train: 16, test: 20 + i, seed: 51 + i }));
  await Promise.all([servers.worker('orchestrator'), servers.worker('gpu')]);
});
afterAll(() => servers.stop());

async function forgetEvaluations(): Promise<void> {
  for await (const { key } of store.list('cache/')) await store.delete(key);
}

/** Learns the datasets one after another; gives how many evaluations were computed for each. */
async function learn(stream: string, more: Partial<StreamDefinition>, before = async () => {}): Promise<number[]> {
  await startStream(servers, tinyStream(stream, more));
  const counts: number[] = [];
  for (const uri of uris) {
    await before();
    await submitDataset(servers, stream, uri);
    const task = uri.split('/').at(-1)!;
    expect(await untilSettled(servers, stream, task)).toMatchObject({ status: 'published' });
    counts.push(await computed(taskWorkflowId(stream, task)));
  }
  return counts;
}

/** Evaluations that a gpu worker computed for a workflow, by what their activities told. */
async function computed(workflowId: string): Promise<number> {
  const { events } = await servers.client.workflow.getHandle(workflowId).fetchHistory();
  const names = new Map(
    events!.map(({ eventId, activityTaskScheduledEventAttributes: at }) => [String(eventId), at?.activityType?.name]),
  );
  const told = events!.flatMap(({ activityTaskCompletedEventAttributes: done }) =>
    names.get(String(done?.scheduledEventId)) === 'evaluateTask' ? [done!.result!.payloads![0]!.data!] : [],
  );
  return told.filter((bytes) => (JSON.parse(Buffer.from(bytes).toString()) as { reused: boolean }).reused === false)
    .length;
}

const evaluationOf = async (stream: string) => readEvaluation(store, await readGeneration(store, stream, uris.length));

it('evaluates a task again only when what answers for it has moved, with the same scores and answers', async () => {
  // Every new task on the base model and on the new bank.
  expect(await learn('apart', { method: 'per-task-lora' })).toEqual([2, 2, 2]);
  await forgetEvaluations();
  expect(await learn('anew', { method: 'per-task-lora' }, forgetEvaluations)).toEqual([2, 3, 4]);
  const [apart, anew] = await Promise.all([evaluationOf('apart'), evaluationOf('anew')]);
  expect(anew.matrix).toEqual(apart.matrix);
  expect(anew.predictions).toEqual(apart.predictions);

  // Zero-shot is the base model, and LiLoRA moves what all tasks share.
  await forgetEvaluations();
  expect(await learn('base', { method: 'zero-shot', options: {} })).toEqual([1, 1, 1]);
  expect(await learn('safe', { options: { variant: 'safe', rank: 4, alpha: 8 } })).toEqual([1, 1, 1]);
  await forgetEvaluations();
  expect(await learn('moving', { options: { variant: 'paper', rank: 4, alpha: 8 } })).toEqual([2, 3, 4]);
});

it('evaluates earlier tasks on the same few samples, and says how sure their scores are', async () => {
  await forgetEvaluations(); // what is known in full counts in full
  const evaluation = { maxNewTokens: 4, batchSize: 8, earlierSamples: 9 };
  await learn('sampled', { evaluation, options: { variant: 'paper', rank: 4, alpha: 8 }, router: 'lda' });
  const { matrix, sampled, learned, predictions, gate, routing } = await evaluationOf('sampled');
  expect(learned.map(({ samples }) => samples)).toEqual([20, 21, 22]);
  const errors = [20, 21].map((of, j) => {
    const score = matrix.rows[2]![j]!;
    return Math.sqrt(((score * (100 - score)) / 9) * ((of - 9) / (of - 1)));
  });
  expect(sampled).toEqual([
    { task: 'one', count: 9, of: 20, standardError: expect.closeTo(errors[0]!, 10) },
    { task: 'two', count: 9, of: 21, standardError: expect.closeTo(errors[1]!, 10) },
  ]);
  expect(gate.at(-1)!.scores.map((score) => score.sampled?.count)).toEqual([9, 9, undefined]);
  expect(routing!.tasks.map(({ count }) => count)).toEqual([9, 9, 22]);

  const idsOf = async (generation: number, task: string) => {
    const found = await readEvaluation(store, await readGeneration(store, 'sampled', generation));
    const { file } = found.predictions.find((each) => each.task === task)!;
    return (await readLines<{ id: string }>({ store }, file)).map(({ id }) => id);
  };
  expect(await idsOf(1, 'one')).toHaveLength(20);
  expect(await idsOf(2, 'one')).toHaveLength(9);
  expect(await idsOf(3, 'one')).toEqual(await idsOf(2, 'one'));
  expect(predictions).toHaveLength(3);

  const third = await readGeneration(store, 'sampled', 3);
  for (const path of ['report.html', 'README.md']) {
    const ref = third.file(path);
    const text = Buffer.from(await getVerified(store, ref.key, ref)).toString();
    expect(text).toContain('one on 9 of 20');
  }
});
