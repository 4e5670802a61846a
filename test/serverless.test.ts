import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DemoResult } from '../cli/demo-run.ts';
import { readGeneration, readHead } from '../store/generations.ts';
import { readLeases } from '../store/leases.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { QUEUES } from '../workflows/contract.ts';
import { type Running, startLilora } from './command.ts';
import { retry } from './servers.ts';
import { startStream, submitDataset, tinyStream, untilSettled, uploadDataset, uploadTinyModel } from './tiny-stream.ts';

/** Gpu workers that Temporal's own worker controller starts from zero: `demo`, then `dev` on what it left. */
let folder: string;
let home: string;
let env: NodeJS.ProcessEnv;
const children: ChildProcess[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-serverless-'));
  home = join(folder, 'home');
  env = { ...process.env, LILORA_HOME: home };
  for (const name of ['TEMPORAL_ADDRESS', 'LILORA_STORE']) delete env[name];
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await retry(async () => expect(gpuWorkers()).toEqual([])); // nothing outlives it
  rmSync(folder, { recursive: true, force: true });
});

function start(...args: string[]): Running {
  const running = startLilora(args, { env });
  children.push(running.child);
  return running;
}

/** Process ids of the gpu workers of this test, as the machine sees them. */
function gpuWorkers(): number[] {
  const parents = new Map<number, number>();
  for (const pid of readdirSync('/proc').map(Number).filter(Boolean))
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('\0worker\0gpu\0')) continue;
      if (!readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`LILORA_HOME=${home}\0`)) continue;
      parents.set(pid, Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]));
    } catch {
      // it ended just now
    }
  // A child that is about to become something else still bears its parent's name.
  return [...parents].filter(([, parent]) => !parents.has(parent)).map(([pid]) => pid);
}

/** Looks at the processes until `done`: how many there were, change by change, and for how many seconds in all. */
async function watchWorkers(done: Promise<unknown>): Promise<{ counts: number[]; seconds: number }> {
  const counts = [gpuWorkers().length];
  let seconds = 0;
  let over = false;
  void done.finally(() => {
    over = true;
  });
  for (let last = performance.now(); !over; ) {
    await new Promise((wake) => setTimeout(wake, 100));
    const [now, count] = [performance.now(), gpuWorkers().length];
    seconds += (count * (now - last)) / 1000;
    last = now;
    if (count !== counts.at(-1)) counts.push(count);
  }
  return { counts, seconds };
}

describe('lilora demo --serverless', () => {
  it('learns with a gpu worker that comes from zero and goes again, and tells what that cost', async () => {
    const { said, ended } = start(
      ...['demo', '--serverless', '--json', '--tasks', 'option', '--train-samples', '64', '--test-samples', '16'],
    );
    const seen = await watchWorkers(ended);
    expect(await ended, said.stderr).toBe(0);
    expect(seen.counts).toEqual([0, 1, 0]);
    const { serverless } = JSON.parse(said.stdout) as Required<DemoResult>;
    expect(serverless.workers.map(({ count }) => count)).toEqual([0, 1, 0]);
    const [, begun, gone] = serverless.workers.map(({ seconds }) => seconds);
    expect(gone! - begun!).toBeCloseTo(serverless.gpuSeconds.billed, 1);
    // What the leases say is what the machine saw, within two looks and the time to open and close a process.
    expect(Math.abs(serverless.gpuSeconds.billed - seen.seconds)).toBeLessThan(3);
    expect(serverless.gpuSeconds.useful).toBeGreaterThan(0);
    expect(serverless.gpuSeconds.useful).toBeLessThan(serverless.gpuSeconds.billed - 5); // it waited 5 s at the end
    expect(serverless.firstStepSeconds['option']).toBeGreaterThan(begun!);
    expect(serverless.firstStepSeconds['option']).toBeLessThan(60); // a few seconds when the machine does nothing else
  });
});

describe('lilora dev --serverless on what the demo left', () => {
  let dev: Running;
  let servers: { client: Client; folder: string };
  let store: ObjectStore;
  const long = { training: { batchSize: 4, epochs: 60, learningRate: 1e-3 } };
  const bankDigest = async (stream: string) => {
    const head = (await readHead(store, stream))!;
    return (await readGeneration(store, stream, head.generation)).file('bank.safetensors').sha256;
  };
  /** The newest checkpoint's step; fails while there is none. */
  const newestStep = async (stream: string) => {
    let newest = -1;
    for await (const { key } of store.list(`streams/${stream}/tasks/long/checkpoints/`))
      newest = Number(/(\d{9})-/.exec(key)![1]);
    if (newest < 0) throw new Error('no checkpoint yet');
    return newest;
  };

  beforeAll(async () => {
    dev = start('dev', '--serverless', '--data', join(home, 'demo'));
    await retry(async () => {
      if (!dev.said.stdout.includes('Ctrl-C ends it')) throw new Error(dev.said.stderr);
    }, 90);
    const running = JSON.parse(readFileSync(join(home, 'running.json'), 'utf8')) as { env: Record<string, string> };
    Object.assign(process.env, running.env);
    const connection = await Connection.connect({ address: running.env['TEMPORAL_ADDRESS']! });
    servers = { client: new Client({ connection }), folder };
    store = await openStore('s3://lilora');
    const s3 = new S3Client({ forcePathStyle: true });
    await s3.send(new CreateBucketCommand({ Bucket: 'lilora-test' }));
    s3.destroy();
    await uploadTinyModel();
  });
  afterAll(() => servers.client.connection.close());

  it('starts from zero a second time, and its leases say how busy the worker was', async () => {
    const uri = await uploadDataset(servers, 'long', { seed: 4 });
    await startStream(servers, tinyStream('calm', long));
    const known = (await readLeases(store, QUEUES.gpu)).length;
    const learned = (async () => {
      await submitDataset(servers, 'calm', uri);
      expect((await untilSettled(servers, 'calm', 'long')).status).toBe('published');
      await retry(async () => expect(gpuWorkers()).toEqual([]), 60);
    })();
    const seen = await watchWorkers(learned);
    await learned;
    expect(seen.counts).toEqual([0, 1, 0]);
    const leases = (await readLeases(store, QUEUES.gpu)).slice(known);
    expect(leases).toHaveLength(1);
    const { startedAt, endedAt, busySeconds } = leases[0]!;
    const lived = (Date.parse(endedAt!) - Date.parse(startedAt)) / 1000;
    expect(Math.abs(lived - seen.seconds)).toBeLessThan(3);
    expect(busySeconds).toBeGreaterThan(0);
    expect(busySeconds).toBeLessThan(lived - 5);
  });

  it('loses no more than a checkpoint interval when its busy worker is told to stop, and when it is killed', async () => {
    const known = (await readLeases(store, QUEUES.gpu)).length;
    await startStream(
      servers,
      tinyStream('struck', { ...long, limits: { heartbeatSeconds: 5, checkpointSeconds: 0.5 } }),
    );
    await submitDataset(servers, 'struck', 's3://lilora-test/datasets/long');
    await retry(() => newestStep('struck'), 60);
    const [stopped] = gpuWorkers();
    process.kill(stopped!, 'SIGTERM');
    await retry(async () => expect(gpuWorkers()).not.toContain(stopped));
    const stoppedAt = await newestStep('struck');
    // Another worker comes by itself and goes on; that one is killed.
    await retry(async () => expect(await newestStep('struck')).toBeGreaterThan(stoppedAt), 60);
    for (const pid of gpuWorkers()) process.kill(pid, 'SIGKILL');
    const killedAt = await newestStep('struck');
    expect((await untilSettled(servers, 'struck', 'long')).status).toBe('published');
    expect(await bankDigest('struck')).toBe(await bankDigest('calm'));
    for await (const { key } of store.list('streams/struck/tasks/long/metrics/')) {
      // The attempt that came to the end logged its own steps only.
      const [first] = Buffer.from((await store.get(key)).bytes)
        .toString()
        .split('\n');
      expect(JSON.parse(first!).step).toBeGreaterThan(killedAt);
    }
    await retry(async () => expect(gpuWorkers()).toEqual([]), 60);
    const lives = (await readLeases(store, QUEUES.gpu)).slice(known);
    expect(lives.map(({ endedAt }) => endedAt !== null)).toEqual([true, false, true]); // the killed one stays open
  });

  it('keeps keys out of arguments, of the compute configuration and of histories', async () => {
    const { secret } = JSON.parse(readFileSync(join(home, 's3-credentials.json'), 'utf8')) as { secret: string };
    const { client } = servers;
    const deployment = await client.connection.workflowService.describeWorkerDeployment({
      namespace: 'default',
      deploymentName: QUEUES.gpu,
    });
    expect(JSON.stringify(deployment)).not.toContain(secret);
    for (const file of ['gpu-worker.sh', 'temporal.db'])
      expect(readFileSync(join(home, 'demo', file)).includes(secret), file).toBe(false);
  });

  it('ends with all that it started', async () => {
    dev.child.kill('SIGINT');
    expect(await dev.ended).toBe(0);
    expect(gpuWorkers()).toEqual([]);
  });
});
