import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ASSUMED } from '../bench/rounds-plan.ts';
import { readGeneration, readHead } from '../store/generations.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { type TaskDescription, taskWorkflowId } from '../workflows/contract.ts';
import { retry, TestServers } from './servers.ts';
import { startStream, submitDataset, tinyStream, untilSettled, uploadDataset, uploadTinyModel } from './tiny-stream.ts';

/** Training over two workers in rounds, on real parts: two gpu worker processes, one of them killed in a round. */
let servers: TestServers;
let store: ObjectStore;
let uri: string;

beforeAll(async () => {
  servers = await TestServers.start();
  store = await openStore('s3://lilora-test/product');
  await uploadTinyModel();
  uri = await uploadDataset(servers, 'colours', { train: 48, seed: 4 });
  await servers.worker('orchestrator');
});
afterAll(() => servers.stop());

/** Three rounds of 20 steps on each of two shards of 24 samples. */
const training = { batchSize: 4, epochs: 10, learningRate: 1e-3, workers: 2, roundSteps: 20 };

async function keys(stream: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.list(`streams/${stream}/tasks/colours/rounds/`)) found.push(key);
  return found;
}

const bankDigest = async (stream: string) => {
  const { generation } = (await readHead(store, stream))!;
  return (await readGeneration(store, stream, generation)).file('bank.safetensors').sha256;
};

/** Whether a worker process has its part of this round in hand. */
async function inRound(worker: ChildProcess, round: number): Promise<boolean> {
  const task = servers.client.workflow.getHandle(taskWorkflowId('struck', 'colours'));
  const [{ raw }, { progress }] = await Promise.all([task.describe(), task.query<TaskDescription>('describe')]);
  const own = raw.pendingActivities?.some(
    ({ activityType, lastWorkerIdentity, lastStartedTime }) =>
      activityType?.name === 'trainRound' && lastStartedTime && lastWorkerIdentity?.startsWith(`${worker.pid}@`),
  );
  return own === true && progress?.round === round;
}

it('ends in the same bank when one of two workers is killed in a round, and leaves no litter', async () => {
  const [victim] = await Promise.all([servers.worker('gpu'), servers.worker('gpu')]);
  await startStream(servers, tinyStream('calm', { training }));
  await submitDataset(servers, 'calm', uri);
  expect((await untilSettled(servers, 'calm', 'colours')).status).toBe('published');

  const task = taskWorkflowId('struck', 'colours');
  await startStream(servers, tinyStream('struck', { training }));
  await submitDataset(servers, 'struck', uri);
  await retry(async () => {
    victim.kill('SIGSTOP');
    // Stopped, it cannot finish any more what it has begun.
    if (await inRound(victim, 2).catch(() => false)) return victim.kill('SIGKILL');
    victim.kill('SIGCONT');
    throw new Error('the worker has not begun its part of the second round');
  }, 60);
  expect((await untilSettled(servers, 'struck', 'colours')).status).toBe('published');
  expect(await bankDigest('struck')).toBe(await bankDigest('calm'));

  const { events } = await servers.client.workflow.getHandle(task).fetchHistory();
  const scheduled = new Map(
    events!.map((event) => [String(event.eventId), event.activityTaskScheduledEventAttributes?.activityType?.name]),
  );
  const started = events!.flatMap(({ activityTaskStartedEventAttributes: attributes }) =>
    attributes ? [{ ...attributes, name: scheduled.get(String(attributes.scheduledEventId)) }] : [],
  );
  const rounds = started.filter(({ name }) => name === 'trainRound');
  expect(rounds).toHaveLength(6);
  expect(rounds.filter(({ attempt }) => attempt! > 1)).toHaveLength(1);
  expect(new Set(rounds.map(({ identity }) => identity)).size).toBe(2);
  expect(started.filter(({ name }) => name === 'trainTask')).toEqual([]);

  const at = (which: number) => events!.findIndex(({ eventId }) => String(eventId) === String(which));
  const [first, last] = [rounds[0]!, started.findLast(({ name }) => name === 'averageRound')!];
  const during = events!.slice(at(Number(first.scheduledEventId)), at(Number(last.scheduledEventId)) + 3);
  const signals = during.filter((event) => event.workflowExecutionSignaledEventAttributes).length;
  expect(during.length - 4 * signals, 'events of three rounds').toBeLessThanOrEqual(3 * ASSUMED.events * (2 + 1));

  for (const stream of ['calm', 'struck'])
    expect(await keys(stream)).toEqual([expect.stringMatching(/\/00002\/averaged\/[0-9a-f]{64}\.json$/)]);
});

it('goes on after its last average when the task was cancelled and is submitted again', async () => {
  await startStream(servers, tinyStream('again', { training: { ...training, roundSteps: 10 } }));
  const task = servers.client.workflow.getHandle(taskWorkflowId('again', 'colours'));
  const stream = servers.client.workflow.getHandle('lilora/again');
  await submitDataset(servers, 'again', uri);
  const roundNow = async () => (await task.query<TaskDescription>('describe')).progress?.round ?? 0;
  await retry(async () => expect(await roundNow()).toBeGreaterThanOrEqual(2), 60);
  await stream.signal('pause');
  await retry(async () => expect((await task.query<TaskDescription>('describe')).phase).toBe('paused'));
  await stream.signal('resume');
  await retry(async () => expect(await roundNow()).toBeGreaterThanOrEqual(3), 60);
  await stream.executeUpdate('cancelTask', { args: [{ task: 'colours' }] });
  expect((await untilSettled(servers, 'again', 'colours')).status).toBe('cancelled');
  await submitDataset(servers, 'again', uri);
  expect((await untilSettled(servers, 'again', 'colours')).status).toBe('published');
  const { events } = await task.fetchHistory();
  const done = events!.filter(
    (event) => event.activityTaskScheduledEventAttributes?.activityType?.name === 'averageRound',
  );
  expect(done.length).toBeLessThanOrEqual(4);
});
