import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readEvaluation } from '../activities/evaluation-file.ts';
import { readGeneration } from '../store/generations.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { taskWorkflowId } from '../workflows/contract.ts';
import { retry, TestServers } from './servers.ts';
import { startStream, submitDataset, tinyStream, untilSettled, uploadDataset, uploadTinyModel } from './tiny-stream.ts';

/** Evaluation over several gpu workers, on real parts: who computes what, and that the numbers are those of one worker. */
let servers: TestServers;
let store: ObjectStore;

beforeAll(async () => {
  servers = await TestServers.start();
  store = await openStore('s3://lilora-test/product');
  await uploadTinyModel();
  await servers.worker('orchestrator');
});
afterAll(() => servers.stop());

/** Answers of 40 tokens: long enough that a worker can be killed at one. */
const evaluation = { maxNewTokens: 40, batchSize: 8 };

async function learn(stream: string, datasets: readonly string[], shardSamples?: number) {
  const settings = { ...evaluation, ...(shardSamples && { shardSamples }) };
  await startStream(servers, tinyStream(stream, { evaluation: settings }));
  for (const uri of datasets) await submitDataset(servers, stream, uri);
}

/** Scores and predictions of a stream's second generation: digests, so every bit counts. */
async function evaluated(stream: string) {
  const { matrix, instructionFollowing, predictions } = await readEvaluation(
    store,
    await readGeneration(store, stream, 2),
  );
  return { matrix, instructionFollowing, predictions };
}

/** Shards of a workflow that are at a worker now. */
async function openShards(workflowId: string, worker: ChildProcess) {
  const { raw } = await servers.client.workflow.getHandle(workflowId).describe();
  return (raw.pendingActivities ?? []).filter(
    ({ activityType, lastWorkerIdentity, lastStartedTime }) =>
      activityType?.name === 'answerShard' && lastStartedTime && lastWorkerIdentity?.startsWith(`${worker.pid}@`),
  );
}

it('gives what one worker gives, bit by bit, also when a worker is killed at a shard', async () => {
  const datasets = [
    await uploadDataset(servers, 'first', { train: 24, test: 50, seed: 11 }),
    await uploadDataset(servers, 'second', { train: 24, test: 75, seed: 12 }),
  ];
  const one = await servers.worker('gpu');
  await learn('alone', datasets);
  expect(await untilSettled(servers, 'alone', 'second')).toMatchObject({ status: 'published' });
  const alone = await evaluated('alone');
  expect(new Set(alone.predictions.map(({ file }) => file.sha256)).size).toBe(2);

  // Nothing of that may be found again.
  for await (const { key } of store.list('cache/')) await store.delete(key);
  const victim = await servers.worker('gpu');
  await learn('shared', datasets, 16);
  const task = taskWorkflowId('shared', 'second');
  await retry(async () => {
    victim.kill('SIGSTOP');
    // Stopped, it cannot finish any more what it has begun.
    if ((await openShards(task, victim).catch(() => [])).length > 0) return victim.kill('SIGKILL');
    victim.kill('SIGCONT');
    throw new Error('the worker has not begun a shard of the second task');
  }, 120);
  expect(await untilSettled(servers, 'shared', 'second')).toMatchObject({ status: 'published' });
  expect(await evaluated('shared')).toEqual(alone);

  const { events } = await servers.client.workflow.getHandle(task).fetchHistory();
  const scheduled = new Map(
    events!.map((event) => [String(event.eventId), event.activityTaskScheduledEventAttributes]),
  );
  const shards = events!.flatMap(({ activityTaskStartedEventAttributes: started }) =>
    started && scheduled.get(String(started.scheduledEventId))?.activityType?.name === 'answerShard' ? [started] : [],
  );
  // Both tasks on the new bank (4 and 5 shards), and the second on the base model (5).
  expect(shards).toHaveLength(4 + 5 + 5);
  const repeated = shards.filter(({ attempt }) => attempt! > 1).length;
  expect(repeated).toBeGreaterThan(0);
  expect(repeated).toBeLessThan(shards.length / 2);

  const both = await servers.client.workflow.getHandle(taskWorkflowId('shared', 'first')).fetchHistory();
  const workers = new Set(both.events!.map((event) => event.activityTaskStartedEventAttributes?.identity));
  for (const { pid } of [one, victim]) expect([...workers].some((name) => name?.startsWith(`${pid}@`))).toBe(true);
});
