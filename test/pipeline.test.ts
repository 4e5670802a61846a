import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readEvaluation } from '../activities/evaluation-file.ts';
import { readGeneration, readHead } from '../store/generations.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { type Head, type StreamDefinition, streamWorkflowId, taskWorkflowId } from '../workflows/contract.ts';
import { freePort, retry, TestServers } from './servers.ts';
import type { SmallDataset } from './small-dataset.ts';
import { startStream, submitDataset, tinyStream, untilSettled, uploadDataset, uploadTinyModel } from './tiny-stream.ts';

/** The whole path on real parts: Temporal, S3, worker processes, TensorFlow, with the tiny model of the fixtures. */
let servers: TestServers;
let store: ObjectStore;

const define = tinyStream;
const dataset = (name: string, options: Partial<SmallDataset> = {}) => uploadDataset(servers, name, options);
const start = (definition: StreamDefinition) => startStream(servers, definition);
const submit = (stream: string, uri: string) => submitDataset(servers, stream, uri);
const settled = (stream: string, task: string) => untilSettled(servers, stream, task);
/** Tasks of the next test must not go to a worker of this one. */
const stop = async (worker: ChildProcess) => {
  const exit = new Promise((ended) => worker.once('exit', ended));
  worker.kill('SIGTERM');
  expect(await exit).toBe(0);
};
const bankDigest = async (stream: string): Promise<string> => {
  const head = (await readHead(store, stream)) as Head;
  return (await readGeneration(store, stream, head.generation)).file('bank.safetensors').sha256;
};

beforeAll(async () => {
  servers = await TestServers.start();
  store = await openStore('s3://lilora-test/product');
  await uploadTinyModel();
  await servers.worker('orchestrator');
});
afterAll(() => servers.stop());

describe('the whole path', () => {
  it('shows the metrics of a worker to Prometheus', async () => {
    const address = `127.0.0.1:${await freePort()}`;
    servers.env['LILORA_METRICS'] = address;
    const worker = await servers.worker('orchestrator');
    delete servers.env['LILORA_METRICS'];
    const metrics = await retry(async () => (await fetch(`http://${address}/metrics`)).text());
    expect(metrics).toContain('temporal_worker_task_slots_available');
    await stop(worker);
  });

  it('publishes a generation per task and answers the same dataset with the first one', async () => {
    const worker = await servers.worker('gpu');
    await start(define('plain'));
    const uri = await dataset('colours');
    await submit('plain', uri);
    expect(await settled('plain', 'colours')).toMatchObject({ status: 'published', generation: 1 });
    expect(await submit('plain', uri)).toMatchObject({ duplicate: true, status: 'published', generation: 1 });
    await submit('plain', await dataset('colours-again', { seed: 2 }));
    expect(await settled('plain', 'colours-again')).toMatchObject({ status: 'published', generation: 2 });

    const generation = await readGeneration(store, 'plain', 2);
    for (const path of ['bank.safetensors', 'evaluation.json', 'report.html', 'README.md'])
      expect(generation.file(path).size).toBeGreaterThan(0);
    for (const task of ['colours', 'colours-again'])
      for (const path of ['adapter_config.json', 'adapter_model.safetensors'])
        expect(generation.file(`adapters/${task}/${path}`).size).toBeGreaterThan(0);
    await stop(worker);
  });

  it('rolls back to an earlier generation and learns on from there', async () => {
    const worker = await servers.worker('gpu', '--idle-exit', '20');
    const handle = servers.client.workflow.getHandle(streamWorkflowId('plain'));
    const before = (await readHead(store, 'plain'))!;
    await handle.executeUpdate<unknown, [object]>('rollback', { args: [{ generation: 1 }] });
    expect(await readHead(store, 'plain')).toMatchObject({ generation: 1, epoch: before.epoch + 1 });
    await submit('plain', await dataset('after-rollback', { seed: 5 }));
    expect(await settled('plain', 'after-rollback')).toMatchObject({ status: 'published', generation: 3 });
    const generation = await readGeneration(store, 'plain', 3);
    expect(() => generation.file('adapters/colours-again/adapter_config.json')).toThrow(/colours-again/);
    // Nothing to do: the worker leaves by itself.
    expect(await new Promise((ended) => worker.once('exit', ended))).toBe(0);
  });

  it('goes on from a last checkpoint when a worker is told to stop in the middle of training', async () => {
    const first = await servers.worker('gpu');
    await start(define('stopped', { training: { batchSize: 4, epochs: 400 }, limits: { checkpointSeconds: 3600 } }));
    const task = taskWorkflowId('stopped', 'stopping');
    await submit('stopped', await dataset('stopping', { seed: 6 }));
    await retry(async () => {
      const { raw } = await servers.client.workflow.getHandle(task).describe();
      const details = raw.pendingActivities?.[0]?.heartbeatDetails?.payloads?.[0]?.data;
      const { step } = JSON.parse(Buffer.from(details!).toString());
      if (!(step > 5)) throw new Error('not training yet');
    }, 60);
    first.kill('SIGTERM');
    expect(await new Promise((ended) => first.once('exit', ended))).toBe(0);
    const checkpoints: string[] = [];
    for await (const { key } of store.list('streams/stopped/tasks/stopping/checkpoints/')) checkpoints.push(key);
    expect(checkpoints).toHaveLength(1); // only the stop made one: the interval is an hour
    const second = await servers.worker('gpu');
    expect((await settled('stopped', 'stopping')).status).toBe('published');
    await stop(second);
  });

  it('publishes the bank of a method whose layers choose by prompt, and says that there are no adapters', async () => {
    const worker = await servers.worker('gpu');
    await start(define('chosen', { method: 'mixlora', options: { rank: 2, experts: 4, alpha: 8 } }));
    for (const [name, seed] of [
      ['chosen-one', 8],
      ['chosen-two', 9],
    ] as const) {
      await submit('chosen', await dataset(name, { seed, train: 16 }));
      expect((await settled('chosen', name)).status).toBe('published');
    }
    const generation = await readGeneration(store, 'chosen', 2);
    const paths = Object.keys(generation.manifest.files);
    expect(paths.filter((path) => path.startsWith('adapters/'))).toEqual([]);
    expect(generation.manifest.lineage['capabilities']).toMatchObject({ peftAdapters: false });
    const card = Buffer.from((await store.get(generation.file('README.md').key)).bytes).toString();
    expect(card).toContain('No ordinary LoRA computes what this method does');
    expect((await readEvaluation(store, generation)).matrix.rows.map((row) => row.length)).toEqual([1, 2]);
    await stop(worker);
  });

  it('refuses a bad dataset before training, in words that help, and goes on with the next', async () => {
    const worker = await servers.worker('gpu');
    await start(define('careful'));
    const bad = await dataset('bad', {
      spoil: (samples, split) => {
        if (split === 'train') samples[7]!.conversations.pop();
      },
    });
    await submit('careful', bad);
    await submit('careful', await dataset('fine', { seed: 3 }));
    const refused = await settled('careful', 'bad');
    expect(refused.status).toBe('refused');
    expect(refused.message).toMatch(/BadDataset: .*train\.json.*train-7/s);
    expect((await settled('careful', 'fine')).status).toBe('published');
    const child = await servers.client.workflow.getHandle(taskWorkflowId('careful', 'bad')).fetchHistory();
    const scheduled = child
      .events!.map((event) => event.activityTaskScheduledEventAttributes?.activityType?.name)
      .filter(Boolean);
    expect(scheduled).toEqual(['fetchDataset']);
    await stop(worker);
  });

  it('ends in the same bank when the gpu worker is killed in the middle of training', async () => {
    const long = { training: { batchSize: 4, epochs: 150, learningRate: 1e-3 } };
    const uri = await dataset('killed', { seed: 4 });
    const calm = await servers.worker('gpu');
    await start(define('calm', long));
    await submit('calm', uri);
    expect((await settled('calm', 'killed')).status).toBe('published');
    calm.kill('SIGKILL');

    const victim = await servers.worker('gpu');
    await start(define('struck', long));
    await submit('struck', uri);
    const checkpoints = 'streams/struck/tasks/killed/checkpoints/';
    await retry(async () => {
      for await (const _ of store.list(checkpoints)) return;
      throw new Error('no checkpoint yet');
    }, 60);
    victim.kill('SIGKILL');
    await servers.worker('gpu');
    expect((await settled('struck', 'killed')).status).toBe('published');
    expect(await bankDigest('struck')).toBe(await bankDigest('calm'));
    const history = await servers.client.workflow.getHandle(taskWorkflowId('struck', 'killed')).fetchHistory();
    const attempts = history.events!.map((event) => event.activityTaskStartedEventAttributes?.attempt ?? 0);
    expect(Math.max(...attempts)).toBeGreaterThan(1);
  });
});
