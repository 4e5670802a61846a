import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readGeneration } from '../store/generations.ts';
import { openStore } from '../store/open.ts';
import type { Outcome } from '../triggers/outcome.ts';
import { ROOT } from '../workers/runtime.ts';
import { type StreamDescription, type Submission, streamWorkflowId } from '../workflows/contract.ts';
import { freePort, retry, TestServers } from './servers.ts';
import { writeSmallDataset } from './small-dataset.ts';
import { post, s3Message, storm } from './storm.ts';
import { uploadFolder } from './upload.ts';

/** From events to tasks: a real listener process, a real Temporal server, real workers and an S3 server. */
const SECRET = 'the-secret-of-this-test';
const MODEL = join(ROOT, 'test/fixtures/llava-mha/model');
const definition = {
  model: 's3://lilora-test/models/tiny',
  options: { rank: 4, alpha: 8 },
  training: { batchSize: 4, epochs: 1, learningRate: 1e-3 },
  evaluation: { maxNewTokens: 4, batchSize: 8 },
  gate: { minimumGain: -100, forgettingBudget: 100 },
};
const RULES = {
  schema: 1,
  rules: [
    { bucket: 'lilora-test', prefix: 'north/', stream: 'north', definition },
    { bucket: 'lilora-test', prefix: 'south/', stream: 'south', definition },
    { bucket: 'lilora-test', prefix: 'over/', stream: 'over', definition },
    { bucket: 'lilora-test', prefix: 'broken/', stream: 'broken', definition: { ...definition, method: 'magic' } },
    { bucket: 'lilora-test', prefix: 'nobody/', stream: 'nobody' },
  ],
};

let servers: TestServers;
let url: string;
let listener: ChildProcess;
let log = '';
let nobody: ReturnType<typeof send>;
const bearer = { authorization: `Bearer ${SECRET}` };

const describeStream = (stream: string) =>
  servers.client.workflow.getHandle(streamWorkflowId(stream)).query<StreamDescription>('describe');

/** Puts a dataset into the bucket; the key and the tag of its manifest. */
async function dataset(stream: string, name: string, seed: number): Promise<{ key: string; etag: string }> {
  const folder = join(servers.folder, stream, `${name}-${seed}`);
  await writeSmallDataset(folder, { name, train: 8, test: 4, seed });
  const prefix = `${stream}/${name} of tests`;
  await uploadFolder(folder, `s3://lilora-test/${prefix}`);
  const found = await openStore(`s3://lilora-test/${prefix}`).head('dataset.json');
  return { key: `${prefix}/dataset.json`, etag: found!.etag };
}

/** Tells the listener of one written object; what it says of the dataset. */
async function send(key: string, etag: string, write: number) {
  const answer = await fetch(url, { method: 'POST', headers: bearer, body: s3Message({ key, etag, write }) });
  const { tasks } = (await answer.json()) as { tasks: Array<{ outcome: Outcome }> };
  const outcome = tasks[0]!.outcome;
  const told = outcome.status === 'submitted' ? { submission: outcome.submission } : { reason: outcome.reason };
  return { http: answer.status, status: outcome.status, ...told };
}

const updatesOf = async (stream: string) =>
  (await servers.client.workflow.getHandle(streamWorkflowId(stream)).fetchHistory()).events!.filter(
    (event) => event.workflowExecutionUpdateAcceptedEventAttributes,
  ).length;

async function listen(): Promise<void> {
  log = '';
  listener = servers.lilora('listen', join(servers.folder, 'rules.json'), '--port', new URL(url).port);
  listener.stderr!.on('data', (text) => {
    log += text;
  });
  await retry(async () => expect(log).toMatch(/listener ready/), 30);
}

beforeAll(async () => {
  servers = await TestServers.start();
  await uploadFolder(MODEL, 's3://lilora-test/models/tiny');
  writeFileSync(join(servers.folder, 'rules.json'), JSON.stringify(RULES));
  url = `http://127.0.0.1:${await freePort()}/s3`;
  servers.env['LILORA_WEBHOOK_SECRET'] = SECRET;
  await Promise.all([servers.worker('orchestrator'), listen()]);
});
afterAll(() => servers.stop());

describe('lilora listen', () => {
  it('makes one task per dataset of ten thousand events', async () => {
    const names = ['ant', 'bee', 'cat', 'dog', 'eel', 'fox', 'gnu', 'hen'];
    const manifests = await Promise.all([
      ...names.map((name, i) => dataset('north', name, i)),
      ...names.slice(0, 4).map((name, i) => dataset('south', name, 10 + i)),
    ]);
    const { messages, writes } = storm(manifests, 10_000, 1);
    const started = performance.now();
    const statuses = await post(url, bearer, messages, 50);
    const seconds = (performance.now() - started) / 1000;
    const peak = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${listener.pid}/status`, 'utf8'))![1]) / 1024;
    console.log(
      `10,000 events: ${seconds.toFixed(1)} s, listener at most ${peak.toFixed(0)} MiB, ${JSON.stringify(statuses)}`,
    );

    expect(Object.keys(statuses).every((status) => ['200', '204', '429', '503'].includes(status))).toBe(true);
    for (const [stream, expected] of [
      ['north', names],
      ['south', names.slice(0, 4)],
    ] as const) {
      const { tasks } = await describeStream(stream);
      expect(tasks.map(({ task }) => task).sort()).toEqual(expected);
      expect(tasks.every(({ status }) => status === 'queued' || status === 'running')).toBe(true);
    }
    // Each write is one update, and no stream was started twice.
    const updates = (await updatesOf('north')) + (await updatesOf('south'));
    expect(updates).toBe(writes);
    const runs = [];
    for await (const run of servers.client.workflow.list({ query: 'WorkflowType = "stream"' }))
      runs.push(run.workflowId);
    expect(runs.sort()).toEqual(['lilora/north', 'lilora/south']);
    expect(peak).toBeLessThan(400);
  });

  it('is the same update for Temporal when the event comes again to another process', async () => {
    const { key, etag } = await dataset('north', 'ant', 0);
    const before = [await send(key, etag, 2), await updatesOf('north')];
    listener.kill('SIGKILL');
    await listen();
    expect([await send(key, etag, 2), await updatesOf('north')]).toEqual(before);
    // Written once more with the same bytes: another event, the same dataset.
    expect(await send(key, etag, 4)).toMatchObject({ submission: { task: 'ant', duplicate: true } });
    expect(await updatesOf('north')).toBe((before[1] as number) + 1);
  });

  it('gets through when others use up the updates that Temporal takes at once', async () => {
    const { key, etag } = await dataset('south', 'ant', 10);
    const impatient = await Connection.connect({ address: servers.address, interceptors: [] });
    const handle = new Client({ connection: impatient }).workflow.getHandle(streamWorkflowId('south'));
    const args: [object] = [{ dataset: 's3://lilora-test/south/ant of tests' }];
    const others = Promise.allSettled(
      Array.from({ length: 60 }, () => handle.executeUpdate<Submission, [object]>('submitTask', { args })),
    );
    const events = await Promise.all(Array.from({ length: 8 }, (_, i) => send(key, etag, 10 + i)));
    expect(events.map(({ http, submission }) => [http, submission?.duplicate])).toEqual(events.map(() => [200, true]));
    const refused = (await others).flatMap((other) =>
      other.status === 'rejected' ? [String(other.reason.cause)] : [],
    );
    expect(refused.join()).toMatch(/RESOURCE_EXHAUSTED.*in-flight/);
    await impatient.close();
  });

  it('is healthy, and answers what repeating does not change with 200 and the reason', async () => {
    expect((await fetch(url.replace('/s3', '/health'))).status).toBe(200);
    const missing = await send('south/missing/dataset.json', 'x', 1);
    expect(missing).toMatchObject({ http: 200, status: 'refused' });
    expect(missing.reason).toMatch(/^NotFound: .*south\/missing\/dataset\.json/);
  });

  it('says why a stream cannot be started', async () => {
    nobody = send('nobody/ant/dataset.json', 'x', 1);
    const { key, etag } = await dataset('broken', 'ant', 1);
    expect(await send(key, etag, 1)).toMatchObject({ status: 'refused', reason: expect.stringMatching(/magic/) });
  });
});

describe('a dataset that is written anew', () => {
  it('while it is learned is refused in words; while it waits the newer version is learned; never a mix', async () => {
    const first = await dataset('over', 'ant', 1);
    const submitted = await send(first.key, first.etag, 1);
    const learned = submitted.submission!.datasetDigest;
    // Its files are read before the gpu worker comes: from here on the task has all it needs.
    await retry(async () => {
      const child = await servers.client.workflow.getHandle('lilora/over/ant').query<{ phase: string }>('describe');
      expect(child.phase).toBe('train');
    });
    const waiting = await dataset('over', 'bee', 2);
    await send(waiting.key, waiting.etag, 1);

    const again = await dataset('over', 'ant', 3);
    const refused = await send(again.key, again.etag, 2);
    expect(refused).toMatchObject({
      http: 200,
      status: 'refused',
      reason: expect.stringMatching(/^Conflict: .*already has a task "ant", from another dataset/),
    });
    const newer = await dataset('over', 'bee', 4);
    const taken = await send(newer.key, newer.etag, 2);
    const newest = taken.submission!.datasetDigest;
    expect(taken.submission).toMatchObject({ task: 'bee', status: 'queued', duplicate: false });
    // The old event comes late: it means what is there now.
    expect((await send(waiting.key, waiting.etag, 3)).submission!.datasetDigest).toBe(newest);

    await servers.client.workflow.getHandle(streamWorkflowId('north')).terminate('the gpu worker is for this test');
    await servers.client.workflow.getHandle(streamWorkflowId('south')).terminate('the gpu worker is for this test');
    await servers.worker('gpu');
    const lines = await retry(async () => {
      const { tasks } = await describeStream('over');
      expect(tasks.map(({ task, status }) => [task, status])).toEqual([
        ['ant', 'published'],
        ['bee', 'published'],
      ]);
      return tasks;
    }, 90);
    expect(lines.map(({ datasetDigest }) => datasetDigest)).toEqual([learned, newest]);
    const store = openStore('s3://lilora-test/product');
    const lineage = async (n: number) => JSON.stringify((await readGeneration(store, 'over', n)).manifest);
    expect(await lineage(1)).toContain(learned);
    expect(await lineage(2)).toContain(newest);
  });
});

describe('the end of lilora listen', () => {
  it('had asked to come again for a stream that does not run', async () => {
    expect(await nobody).toMatchObject({ http: 503, reason: expect.stringMatching(/^Stream nobody does not run/) });
    const handle = servers.client.workflow.getHandle(streamWorkflowId('nobody'));
    await expect(handle.describe()).rejects.toThrow(/not found/);
  });

  it('is polite, counts what it did, and says no secret', async () => {
    listener.kill('SIGTERM');
    expect(await new Promise((ended) => listener.once('exit', ended))).toBe(0);
    const last = JSON.parse(log.trim().split('\n').at(-1)!);
    expect(last).toMatchObject({ msg: 'listener stops', role: 'listener' });
    expect(last.submitted).toBeGreaterThan(0);
    expect(log).not.toContain(SECRET);
  });
});
