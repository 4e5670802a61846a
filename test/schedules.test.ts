import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { main } from '../cli/main.ts';
import { type ScheduleLine, scheduleId } from '../cli/schedules.ts';
import { inLanes } from '../core/lanes.ts';
import { readGeneration, readHead } from '../store/generations.ts';
import { type ObjectStore, verifyObject } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { type StreamDescription, streamWorkflowId } from '../workflows/contract.ts';
import type { CompactResult, DriftReport, SweepResult } from '../workflows/schedule-contract.ts';
import { dangling } from './compaction-suite.ts';
import { recordHistories } from './record.ts';
import { retry, TestServers } from './servers.ts';
import { type SmallDataset, writeSmallDataset } from './small-dataset.ts';
import { startStream, submitDataset, tinyStream, untilSettled, uploadFolder, uploadTinyModel } from './tiny-stream.ts';

/** Schedules on real parts: Temporal, S3, worker processes, the tiny model. */
let servers: TestServers;
let store: ObjectStore;
let temporal: ChildProcess;
let orchestrator: ChildProcess;

/** The verb, in this process; with `--json` its answer. */
async function schedule<T = unknown>(...args: string[]): Promise<T> {
  const said = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((part) => {
      said[name] += part;
      return true;
    }),
  );
  for (const name of ['TEMPORAL_ADDRESS', 'LILORA_STORE']) vi.stubEnv(name, servers.env[name]);
  const code = await main(['schedule', ...args]);
  vi.unstubAllEnvs();
  for (const spy of spies) spy.mockRestore();
  expect(code, said.stderr).toBe(0);
  return (args.includes('--json') ? JSON.parse(said.stdout) : said.stdout) as T;
}
/** Runs that a schedule started, oldest first. */
async function runsOf(name: string) {
  const runs: { workflowId: string; status: string; scheduled: Date }[] = [];
  const query = `TemporalScheduledById = 'lilora/${name}'`;
  for await (const { workflowId, status, searchAttributes } of servers.client.workflow.list({ query }))
    runs.push({
      workflowId,
      status: status.name,
      scheduled: searchAttributes['TemporalScheduledStartTime']![0] as Date,
    });
  return runs.reverse();
}
const untilRuns = (name: string, count: number) =>
  retry(async () => {
    const runs = await runsOf(name);
    expect(runs).toHaveLength(count);
    return runs;
  });
/** Triggers a schedule and waits for what that run ends with. */
async function triggered<T>(name: string): Promise<T> {
  const before = (await runsOf(name)).length;
  await schedule('trigger', name);
  const run = (await untilRuns(name, before + 1)).at(-1)!;
  return servers.client.workflow.getHandle(run.workflowId).result() as Promise<T>;
}
function failureOf(error: unknown): ApplicationFailure {
  let cause: unknown = error;
  while (!(cause instanceof ApplicationFailure) && cause instanceof Error && cause.cause) cause = cause.cause;
  if (error instanceof WorkflowFailedError && cause instanceof ApplicationFailure) return cause;
  throw error;
}
const describeStream = (stream: string) =>
  servers.client.workflow.getHandle(streamWorkflowId(stream)).query<StreamDescription>('describe');

/** S3 counts whole seconds. */
const nextSecond = () => new Promise((wake) => setTimeout(wake, 1100));
/** Puts a dataset of coloured pictures anywhere in the store, later than what was put before. */
async function put(at: string, options: Partial<SmallDataset> & { readonly name: string }): Promise<string> {
  await nextSecond();
  const folder = join(servers.folder, 'made', at);
  await writeSmallDataset(folder, { train: 16, test: 8, seed: 1, ...options });
  await uploadFolder(folder, `s3://lilora-test/${at}`);
  return `s3://lilora-test/${at}`;
}
const keysIn = async (prefix: string) => {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
};

const removeAll = ['--keep-generations', '1', '--task-days', '0', '--cache-days', '0', '--upload-days', '0'];

beforeAll(async () => {
  servers = await TestServers.start({ temporal: false });
  temporal = await servers.startTemporal();
  store = openStore('s3://lilora-test/product');
  await uploadTinyModel();
  orchestrator = await servers.worker('orchestrator');
  await servers.worker('gpu');
  await startStream(servers, tinyStream('pets', { training: { batchSize: 8, epochs: 4, learningRate: 1e-2 } }));
});
afterAll(async () => {
  await recordHistories(servers, async () => {
    const names = ['pets/sweep', 'pets/drift-watch', 'compact', 'pets/compact'];
    const runs = await Promise.all(names.map(runsOf));
    return [streamWorkflowId('pets'), ...runs.flat().map(({ workflowId }) => workflowId)];
  });
  await servers.stop();
});

describe('a sweep', () => {
  it('submits what is new, oldest first, once; what was refused is not tried again', async () => {
    const colours = await put('incoming/colours', { name: 'colours', train: 200, test: 48 });
    const hues = await put('incoming/2026/hues', { name: 'hues', seed: 2 });
    const spoiled = await put('incoming/spoiled', {
      name: 'spoiled',
      spoil: (samples, split) => split === 'train' && samples[7]!.conversations.pop(),
    });
    await nextSecond();
    await openStore('s3://lilora-test').put('incoming/broken/dataset.json', Buffer.from('{"schema": 7}'));
    await put('incoming/copy-of-hues', { name: 'hues', seed: 2 });

    const made = await schedule(
      ...[
        'create',
        'sweep',
        'pets',
        '--prefix',
        's3://lilora-test/incoming/',
        '--every',
        '30d',
        '--limit',
        '3',
        '--json',
      ],
    );
    expect(made).toMatchObject({ schedule: 'pets/sweep', kind: 'sweep', stream: 'pets', cadence: 'every 30d' });
    const first = await triggered<SweepResult>('pets/sweep');
    expect(first).toMatchObject({ left: 1, known: 0 });
    expect(first.datasets.map(({ uri, task, status }) => [uri, task, status])).toEqual([
      [colours, 'colours', 'queued'],
      [hues, 'hues', 'queued'],
      [spoiled, 'spoiled', 'queued'],
    ]);
    for (const task of ['colours', 'hues', 'spoiled']) await untilSettled(servers, 'pets', task);
    const { tasks } = await describeStream('pets');
    expect(tasks.map(({ task, status }) => [task, status])).toEqual([
      ['colours', 'published'],
      ['hues', 'published'],
      ['spoiled', 'refused'],
    ]);
    expect(await triggered<SweepResult>('pets/sweep')).toMatchObject({
      datasets: [
        { uri: 's3://lilora-test/incoming/broken', status: 'refused', message: expect.stringMatching(/schema/) },
      ],
      left: 0,
      known: 4,
    });
    expect(await triggered<SweepResult>('pets/sweep')).toEqual({ datasets: [], left: 0, known: 5 });
    expect((await describeStream('pets')).tasks).toEqual(tasks);
  });

  it('of a stream that does not run fails, and its schedule waits for a person', async () => {
    await startStream(servers, tinyStream('gone'));
    await schedule('create', 'sweep', 'gone', '--prefix', 's3://lilora-test/incoming');
    await servers.client.workflow.getHandle(streamWorkflowId('gone')).terminate();
    await expect(triggered('gone/sweep')).rejects.toSatisfy((error) =>
      /Stream gone does not run/.test(failureOf(error).message),
    );
    const line = await retry(async () => {
      const [found] = await schedule<ScheduleLine[]>('list', 'gone', '--json');
      expect(found!.paused).toBe(true);
      return found;
    });
    expect(line).toMatchObject({ schedule: 'gone/sweep', lastRun: { status: 'failed' }, next: null });
    await schedule('delete', 'gone/sweep');
    expect((await servers.run('schedule', 'trigger', 'gone/sweep')).stderr).toMatch(
      /NotFound: There is no schedule gone\/sweep/,
    );
  });
});

describe('a drift watch', () => {
  it('says nothing of data like those that the task was tested on', async () => {
    await put('fresh/week-1', { name: 'colours', test: 48, seed: 21 });
    await put('fresh/other', { name: 'unheard-of' });
    const made = await schedule(
      ...['create', 'drift-watch', 'pets', '--prefix', 's3://lilora-test/fresh', '--cron', '0 3 * * *', '--json'],
    );
    expect(made).toMatchObject({
      cadence: 'cron 0 3 * * *',
      catchUpSeconds: 86_400,
      overlap: 'SKIP',
      pauseOnFailure: false,
    });
    const { generation, measured, unmeasured } = await triggered<DriftReport>('pets/drift-watch');
    expect(generation).toBe(2);
    expect(unmeasured).toEqual([]);
    expect(measured).toMatchObject([{ task: 'colours', count: 48, over: false }]);
    expect(measured[0]!.published).toBeGreaterThan(90);
    expect(measured[0]!.now).toBeGreaterThan(85);
  });

  it('fails, loudly, when the answers are no longer the ones that were learned; the stream is as it was', async () => {
    const before = [await readHead(store, 'pets'), await describeStream('pets')];
    const other: Record<string, string> = { red: 'green', green: 'blue', blue: 'red' };
    const uri = await put('fresh/week-2', {
      name: 'colours',
      test: 48,
      seed: 22,
      spoil: (samples) => {
        for (const { conversations } of samples) conversations[1]!.value = other[conversations[1]!.value]!;
      },
    });
    const failure = await triggered('pets/drift-watch').then(
      () => null,
      (error) => failureOf(error),
    );
    expect(failure).toMatchObject({ type: 'Drifted', nonRetryable: true });
    expect(failure!.message).toContain(`on ${uri}; it was published with`);
    const [report] = failure!.details as [DriftReport];
    expect(report.measured).toMatchObject([{ task: 'colours', over: true, dataset: { uri } }]);
    expect(report.measured[0]!.now).toBeLessThan(20);
    expect([await readHead(store, 'pets'), await describeStream('pets')]).toEqual(before);

    await retry(async () => {
      const found: string[] = [];
      for await (const { status } of servers.client.workflow.list({ query: 'LiloraDrift > 50' }))
        found.push(status.name);
      expect(found).toEqual(['FAILED']);
    });
    // An alarm does not end the watch, and both measurements are kept.
    expect(await schedule<ScheduleLine[]>('list', 'pets', '--json')).toContainEqual(
      expect.objectContaining({ schedule: 'pets/drift-watch', paused: false }),
    );
    expect(await keysIn('streams/pets/drift/')).toHaveLength(2);
  });
});

describe('a compaction', () => {
  it('only says what would go, unless it is told to apply', async () => {
    await schedule('create', 'compact', ...removeAll);
    const before = await keysIn('');
    const result = await triggered<CompactResult>('compact');
    expect(result).toMatchObject({ applied: false, streams: 2 });
    expect(result.bytes).toBeGreaterThan(100_000);
    expect(result.parts).toContainEqual(expect.objectContaining({ stream: 'gone', message: expect.anything() }));
    const after = await keysIn('');
    expect(after.filter((key) => !key.includes('compactions/'))).toEqual(before);
  });
});

describe('when processes die', () => {
  const many = 600;
  const SWEEP = 'pets/often';
  const WATCH = 'pets/watch';
  const left = () => keysIn('streams/pets/tasks/colours/checkpoints/');

  it('a compaction that is broken off leaves a whole store', async () => {
    const often = ['--every', '10s', '--jitter', '0s', '--paused'];
    await schedule('create', 'sweep', 'pets', '--name', 'often', '--prefix', 's3://lilora-test/incoming', ...often);
    await schedule('create', 'drift-watch', 'pets', '--name', 'watch', '--prefix', 's3://lilora-test/none', ...often);
    await schedule('create', 'compact', 'pets', '--apply', ...removeAll);
    await inLanes(16, Array(many).keys(), (i) =>
      store.put(`streams/pets/tasks/colours/checkpoints/old/${i}.safetensors`, Buffer.alloc(100)),
    );
    await schedule('trigger', 'pets/compact');
    await retry(async () => expect((await left()).length).toBeLessThan(many));
    orchestrator.kill('SIGKILL');
    expect((await left()).length).toBeGreaterThan(0);
    expect(await dangling(store)).toEqual([]);
  });

  it('a schedule holds its overlap policy: a sweep keeps one run waiting, a watch none', async () => {
    // Nobody works: runs begin, and do not end.
    for (let time = 0; time < 3; time++) for (const name of [SWEEP, WATCH]) await schedule('trigger', name);
    for (const name of [SWEEP, WATCH]) expect(await untilRuns(name, 1)).toMatchObject([{ status: 'RUNNING' }]);
    orchestrator = await servers.worker('orchestrator');
    await retry(async () => {
      expect((await runsOf(SWEEP)).map(({ status }) => status)).toEqual(['COMPLETED', 'COMPLETED']);
      expect((await runsOf(WATCH)).map(({ status }) => status)).toEqual(['COMPLETED']);
    });
  });

  it('a schedule makes up for an outage of several runs with one at most', async () => {
    const resumed = Date.now();
    for (const name of [SWEEP, WATCH]) await schedule('resume', name, '--note', 'from now on');
    const ran = (name: string, after: number) =>
      retry(async () => expect((await runsOf(name)).some(({ scheduled }) => +scheduled > after)).toBe(true));
    for (const name of [SWEEP, WATCH]) await ran(name, resumed);
    const from = Date.now();
    await servers.client.connection.close();
    temporal.kill('SIGKILL');
    await new Promise((wake) => setTimeout(wake, 21_000)); // two or three runs are due
    const to = Date.now();
    await servers.startTemporal();
    for (const name of [SWEEP, WATCH]) {
      await ran(name, to);
      const missed = (await runsOf(name)).filter(({ scheduled }) => +scheduled > from && +scheduled < to);
      expect(missed.length).toBeLessThanOrEqual(1);
      const { info } = await servers.client.schedule.getHandle(scheduleId(name)).describe();
      expect(info.numActionsMissedCatchupWindow).toBeGreaterThan(0);
      await schedule('delete', name);
    }
    expect((await schedule<ScheduleLine[]>('list', '--json')).map(({ schedule: name }) => name)).toEqual([
      'compact',
      'pets/compact',
      'pets/drift-watch',
      'pets/sweep',
    ]);
  });

  it('a compaction goes on, tells every object that went, and learning goes on with what it leaves', async () => {
    const { workflowId } = (await untilRuns('pets/compact', 1))[0]!;
    const { applied, parts }: CompactResult = await servers.client.workflow.getHandle(workflowId).result();
    expect(applied).toBe(true);
    expect(await left()).toEqual([]);
    expect(await dangling(store)).toEqual([]);
    const { plan } = JSON.parse(Buffer.from((await store.get(parts[0]!.report!)).bytes).toString());
    const checkpoints: { size: number }[] = plan.flat().filter(({ kind }: { kind: string }) => kind === 'checkpoints');
    expect(checkpoints.length).toBeGreaterThanOrEqual(many);
    expect(parts[0]!.removed).toContainEqual({
      kind: 'checkpoints',
      count: checkpoints.length,
      bytes: checkpoints.reduce((sum, { size }) => sum + size, 0),
    });
    const head = (await readHead(store, 'pets'))!;
    const { manifest } = await readGeneration(store, 'pets', head.generation, head.manifestDigest);
    for (const { key, ...expected } of Object.values(manifest.files)) await verifyObject(store, key, expected);
    await expect(readGeneration(store, 'pets', 1)).rejects.toMatchObject({ name: 'NotFound' });
    await submitDataset(servers, 'pets', await put('incoming/later', { name: 'later', seed: 31 }));
    expect(await untilSettled(servers, 'pets', 'later')).toMatchObject({ status: 'published', generation: 3 });
    expect(await dangling(store)).toEqual([]);
  });
});
