import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readEvaluation } from '../activities/evaluation-file.ts';
import type { StreamCost } from '../cli/verbs/cost.ts';
import { gpuSeconds } from '../core/cost.ts';
import { readGeneration } from '../store/generations.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { ROOT } from '../workers/runtime.ts';
import { QUEUES, SCHEMA, type StreamDescription, type TaskDescription } from '../workflows/contract.ts';
import { retry, TestServers } from './servers.ts';
import { writeSmallDataset } from './small-dataset.ts';

/** What learning costs, on real parts: measured, told, limited. */
let servers: TestServers;
let store: ObjectStore;
const PRICE = { perSecond: 0.5 };

beforeAll(async () => {
  servers = await TestServers.start();
  store = openStore('s3://lilora-test/product');
  await upload(join(ROOT, 'test/fixtures/llava-mha/model'), 's3://lilora-test/models/tiny');
  const small = { train: 48, test: 8, seed: 1 };
  for (const name of ['first', 'second'])
    await upload(
      await writeSmallDataset(join(servers.folder, name), { name, ...small, seed: name.length }),
      `s3://lilora-test/datasets/${name}`,
    );
  await servers.worker('orchestrator');
  await servers.client.workflow.start('stream', {
    workflowId: 'lilora/frugal',
    taskQueue: QUEUES.orchestrator,
    args: [
      {
        schema: SCHEMA,
        definition: {
          name: 'frugal',
          model: 's3://lilora-test/models/tiny',
          options: { rank: 4, alpha: 8 },
          training: { batchSize: 4, epochs: 300, learningRate: 1e-3 },
          evaluation: { maxNewTokens: 4, batchSize: 8 },
          gate: { minimumGain: -100, forgettingBudget: 100 },
          limits: { heartbeatSeconds: 5, checkpointSeconds: 0.2 },
          prices: { currency: 'EUR', workers: { [QUEUES.gpu]: PRICE } },
        },
      },
    ],
  });
});
afterAll(() => servers.stop());

async function upload(folder: string, uri: string): Promise<void> {
  const place = openStore(uri);
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) {
      const path = join(entry.parentPath, entry.name);
      await place.upload(path.slice(folder.length + 1), path);
    }
}

const stream = () => servers.client.workflow.getHandle('lilora/frugal');
const child = (task: string) => servers.client.workflow.getHandle(`lilora/frugal/${task}`);
const submit = (task: string) =>
  stream().executeUpdate('submitTask', { args: [{ dataset: `s3://lilora-test/datasets/${task}` }] });
const look = (task: string) => child(task).query<TaskDescription>('describe');
const line = async (task: string, status: string) =>
  retry(async () => {
    const found = (await stream().query<StreamDescription>('describe')).tasks.find((t) => t.task === task);
    if (found?.status !== status) throw new Error(`${task} is ${found?.status}: ${found?.message}`);
    return found;
  }, 150);
/** Waits until training has written a checkpoint. */
const training = (task: string) =>
  retry(async () => {
    for await (const _ of store.list(`streams/frugal/tasks/${task}/checkpoints/`)) return;
    throw new Error('no checkpoint yet');
  }, 60);

/** Seconds between start and end of the last attempts of all activities on a queue: by the clock of the server. */
async function secondsInHistory(task: string, queue: string): Promise<number> {
  const { events } = await child(task).fetchHistory();
  const at = (event: { eventTime?: { seconds?: unknown; nanos?: number | null } | null }) =>
    Number(event.eventTime!.seconds) + (event.eventTime!.nanos ?? 0) / 1e9;
  const scheduled = events!.filter(
    ({ activityTaskScheduledEventAttributes: a }) => a && (a.taskQueue?.name ?? '') === queue,
  );
  const ids = new Set(scheduled.map(({ eventId }) => String(eventId)));
  const started = new Map<string, number>();
  let sum = 0;
  for (const event of events!) {
    const { activityTaskStartedEventAttributes: begun, activityTaskCanceledEventAttributes: cancelled } = event;
    const ended = event.activityTaskCompletedEventAttributes ?? cancelled;
    if (begun) started.set(String(begun.scheduledEventId), at(event));
    const id = String(ended?.scheduledEventId);
    if (ended && ids.has(id)) sum += at(event) - started.get(id)!;
  }
  return sum;
}

describe('cost', () => {
  it('stops a task at its budget in the middle of training, and goes on when the budget is raised', async () => {
    const worker = await servers.worker('gpu');
    await submit('first');
    await training('first');
    const used = gpuSeconds((await look('first')).usage!);
    const limit = used + 1.5;
    const set = await servers.run('budget', 'frugal', '--task-gpu-seconds', String(limit), '--json');
    expect(JSON.parse(set.stdout)).toEqual({ taskGpuSeconds: limit });
    const waiting = await retry(async () => {
      const now = await look('first');
      expect(now.phase).toBe('waiting-for-person');
      return now;
    });
    expect(waiting.note).toMatch(/^The task used [\d.]+ of its budget of [\d.]+ GPU-seconds\. Raise it with/);
    expect(gpuSeconds(waiting.usage!)).toBeGreaterThanOrEqual(limit);
    const { raw } = await child('first').describe();
    expect(raw.pendingActivities ?? []).toEqual([]); // nothing runs, so nothing is spent
    expect((await servers.run('status', 'frugal')).stdout).toMatch(/waiting for a person: The task used/);

    const refused = await servers.run('budget', 'frugal', '--task-gpu-seconds', String(limit + 0.01));
    expect(refused.code).toBe(0); // raised, but not by enough: it waits on
    expect((await look('first')).phase).toBe('waiting-for-person');
    expect((await servers.run('budget', 'frugal', '--task-gpu-seconds', 'none')).stdout).toMatch(/: none\.$/m);
    const { usage } = await line('first', 'published');
    const gpu = usage![QUEUES.gpu]!;
    const history = await secondsInHistory('first', QUEUES.gpu);
    expect(Math.abs(gpu.seconds - history)).toBeLessThan(0.1 * history + 0.5);
    expect(gpu.usefulSeconds).toBeGreaterThan(0);
    expect(gpu.usefulSeconds).toBeLessThan(gpu.seconds);
    expect(gpu.waitedSeconds).toBeGreaterThan(0); // the start of the worker, at least

    // Every second of the worker's life is paid for once.
    const gone = new Promise((ended) => worker.once('exit', ended));
    worker.kill('SIGTERM');
    await gone;
    const { fleets, total } = JSON.parse((await servers.run('cost', 'frugal', '--json')).stdout) as StreamCost;
    const { seconds, waitedSeconds } = total.usage[QUEUES.gpu]!;
    expect(fleets).toHaveLength(1);
    expect(fleets[0]!.lives).toBe(1);
    expect(Math.abs(fleets[0]!.billedSeconds - (seconds + waitedSeconds + fleets[0]!.idleSeconds))).toBeLessThan(0.5);
  });

  it('tells in the generation what the task and the stream used', async () => {
    const generation = await readGeneration(store, 'frugal', 1);
    const { cost } = await readEvaluation(store, generation);
    expect(cost!.tasks).toMatchObject([{ task: 'first' }]);
    const added = [
      'bank.safetensors',
      'adapters/first/adapter_config.json',
      'adapters/first/adapter_model.safetensors',
    ];
    expect(cost!.tasks[0]!.storedBytes).toBe(added.reduce((sum, path) => sum + generation.file(path).size, 0));
    const used = cost!.tasks[0]!.usage;
    // Everything that training and preparing left in the store went through the meters.
    let kept = 0;
    for await (const { size } of store.list('streams/frugal/tasks/first/')) kept += size;
    expect(used[QUEUES.gpu]!.bytesWritten + used[QUEUES.data]!.bytesWritten).toBeGreaterThanOrEqual(kept);
    expect(used[QUEUES.data]!.bytesRead).toBeGreaterThan(0);
    const { seconds, waitedSeconds } = cost!.stream[QUEUES.gpu]!;
    const { task } = generation.manifest.lineage['cost'] as { task: { money: number; billedSeconds: number } };
    expect(task.money).toBeCloseTo(PRICE.perSecond * (seconds + waitedSeconds), 6);
    for (const path of ['report.html', 'README.md'])
      expect(Buffer.from((await store.get(generation.file(path).key)).bytes).toString()).toMatch(/What it cost/);
  });

  it('counts the attempt of a worker that was killed, and a task that was cancelled', async () => {
    const victim = await servers.worker('gpu');
    await submit('second');
    await training('second');
    await new Promise((wake) => setTimeout(wake, 2500)); // heartbeats are told every two seconds
    victim.kill('SIGKILL');
    await servers.worker('gpu');
    await retry(async () => {
      const [activity] = (await child('second').describe()).raw.pendingActivities!;
      expect(activity).toMatchObject({ attempt: 2, state: 2 /* started */ });
      const beat = JSON.parse(Buffer.from(activity!.heartbeatDetails!.payloads![0]!.data!).toString());
      expect(beat.step).toBeGreaterThan(0);
    }, 60);
    await stream().executeUpdate('cancelTask', { args: [{ task: 'second' }] });
    const { usage } = await line('second', 'cancelled');
    const gpu = usage![QUEUES.gpu]!;
    // The history knows the last attempt of every activity only.
    expect(gpu.seconds).toBeGreaterThan((await secondsInHistory('second', QUEUES.gpu)) + 1);
    expect(gpu.usefulSeconds).toBeGreaterThan(0); // up to the checkpoints
  });

  it('is told by `lilora cost`, and found by search', async () => {
    const { stdout } = await servers.run('cost', 'frugal', '--json');
    const cost = JSON.parse(stdout) as StreamCost;
    expect(cost.tasks.map(({ task, status }) => `${task} ${status}`)).toEqual(['first published', 'second cancelled']);
    const gpu = cost.total.usage[QUEUES.gpu]!;
    expect(cost.total.money).toBeCloseTo(PRICE.perSecond * (gpu.seconds + gpu.waitedSeconds), 6);
    let kept = 0;
    for await (const { size } of store.list('streams/frugal/')) kept += size;
    expect(cost.storedBytes).toBe(kept);
    const dear = await servers.run('cost', 'frugal', '--prices', join(ROOT, 'examples/prices.json'));
    expect(dear.stdout).toMatch(/first +published[\s\S]*Estimated in all: [\d.e-]+ USD, and [\d.e-]+ USD a month/);
    await retry(async () => {
      const found: string[] = [];
      for await (const { workflowId } of servers.client.workflow.list({
        query: 'LiloraCost > 0 AND LiloraGpuSeconds > 1',
      }))
        found.push(workflowId);
      expect(found).toContain('lilora/frugal');
    });
  });
});
