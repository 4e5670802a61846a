import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { handler } from '../triggers/lambda.ts';
import { Receiver } from '../triggers/receive.ts';
import { readRules } from '../triggers/rules.ts';
import { pollQueue } from '../triggers/sqs.ts';
import { Submitter } from '../triggers/submit.ts';
import { ROOT } from '../workers/runtime.ts';
import { type StreamDescription, streamWorkflowId } from '../workflows/contract.ts';
import { QueueServer } from './queue/moto.ts';
import { retry, TestServers } from './servers.ts';
import { writeSmallDataset } from './small-dataset.ts';
import { s3Message } from './storm.ts';
import { uploadFolder } from './upload.ts';

/** Events from a queue, by our own poller and by the Lambda function: a real Temporal server, workers, S3, and moto's SQS. */
const DEMO = 'amzn-s3-demo-bucket';
const definition = { model: 's3://lilora-test/models/tiny', options: { rank: 4, alpha: 8 } };
const RULES = JSON.stringify({
  schema: 1,
  rules: [
    { bucket: 'lilora-test', prefix: 'queued/', stream: 'queued', definition },
    { bucket: DEMO, stream: 'lambda', definition },
  ],
});
const fixture = (name: string) => readFileSync(new URL(`fixtures/events/${name}.json`, import.meta.url), 'utf8');

let servers: TestServers;
let temporal: ChildProcess;
let queues: QueueServer;
let logged = '';
let polling: Promise<void>;
const stopping = new AbortController();
let queue: { url: string; dead: string };

/** Puts a dataset into a bucket; a message about its manifest. */
async function dataset(uri: string, name: string, seed: number): Promise<string> {
  const folder = await writeSmallDataset(join(servers.folder, `${name}-${seed}`), { name, train: 4, test: 2, seed });
  await uploadFolder(folder, uri);
  return message(uri, seed);
}
const message = (uri: string, write: number) => {
  const [, , bucket, ...folder] = uri.split('/');
  return s3Message({ key: [...folder, 'dataset.json'].join('/'), etag: 'x', write }, 'ObjectCreated:Put', bucket);
};
const tasks = async (stream: string) =>
  (await servers.client.workflow.getHandle(streamWorkflowId(stream)).query<StreamDescription>('describe')).tasks;
const gone = (url: string) => retry(async () => expect(await queues.count(url)).toBe(0));

beforeAll(async () => {
  [servers, queues] = await Promise.all([TestServers.start({ temporal: false }), QueueServer.start()]);
  temporal = await servers.startTemporal();
  await uploadFolder(join(ROOT, 'test/fixtures/llava-mha/model'), 's3://lilora-test/models/tiny');
  await servers.worker('orchestrator');
  queue = await queues.create('datasets', 3);
  const submitter = new Submitter(servers.client);
  const log = pino({}, { write: (line: string) => (logged += line) });
  const receiver = new Receiver(readRules(RULES, 'rules'), submitter, log);
  const common = { url: queue.url, receiver, submitter, log, signal: stopping.signal };
  polling = pollQueue({ ...common, returnSeconds: 1, waitSeconds: 1 });
});
afterAll(async () => {
  stopping.abort();
  await polling;
  queues.stop();
  await servers.stop();
});

describe('a queue', () => {
  it('is emptied of datasets, duplicates and whatever triggers nothing', async () => {
    const body = await dataset('s3://lilora-test/queued/ant', 'ant', 1);
    const wrapped = JSON.stringify({ Type: 'Notification', TopicArn: 'arn:aws:sns:x', Message: body });
    const image = s3Message({ key: 'queued/ant/images/1.png', etag: 'x', write: 2 });
    for (const sent of [body, wrapped, body, fixture('s3-test'), image, fixture('eventbridge-deleted')])
      await queues.send(queue.url, sent);
    await gone(queue.url);
    expect((await tasks('queued')).map(({ task }) => task)).toEqual(['ant']);
    expect(await queues.count(queue.dead)).toBe(0);
  });

  it('leaves what cannot be read or is refused to the dead-letter queue', async () => {
    const poison = ['{"foo": 2}', message('s3://lilora-test/queued/missing', 1)];
    for (const body of poison) await queues.send(queue.url, body);
    await retry(async () => expect(await queues.count(queue.dead)).toBe(2), 40);
    expect((await queues.bodies(queue.dead)).sort()).toEqual(poison.sort());
    expect(await queues.count(queue.url)).toBe(0);
    expect(logged).toMatch(/NotFound: .*queued\/missing\/dataset\.json/);
  });

  it('tries again what was refused, when the message comes back', async () => {
    await queues.send(queue.url, message('s3://lilora-test/queued/late', 5));
    await retry(async () => expect(logged).toMatch(/NotFound: .*queued\/late/));
    await dataset('s3://lilora-test/queued/late', 'late', 5);
    await gone(queue.url);
    expect((await tasks('queued')).map(({ task }) => task)).toEqual(['ant', 'late']);
  });

  it('is left alone while Temporal is away', async () => {
    const body = await dataset('s3://lilora-test/queued/patient', 'patient', 6);
    temporal.kill('SIGKILL');
    await retry(async () => expect(logged).toMatch(/polling pauses/), 40);
    await queues.send(queue.url, body);
    await new Promise((wake) => setTimeout(wake, 3000));
    await servers.startTemporal();
    await gone(queue.url);
    await retry(async () => expect((await tasks('queued')).map(({ task }) => task)).toContain('patient'));
    expect(await queues.count(queue.dead)).toBe(2);
  });
});

describe('lilora listen --sqs', () => {
  it('takes events from a queue, warns when it has no dead-letter queue, and ends politely', async () => {
    const body = await dataset('s3://lilora-test/queued/verb', 'verb', 7);
    writeFileSync(join(servers.folder, 'rules.json'), RULES);
    await queues.send(queue.dead, body);
    const child = servers.lilora('listen', join(servers.folder, 'rules.json'), '--sqs', queue.dead);
    let log = '';
    child.stderr!.on('data', (text) => (log += text));
    await retry(async () => expect(log).toMatch(/"task":"verb".*dataset submitted/));
    expect(log).toMatch(/no dead-letter queue/);
    child.kill('SIGTERM');
    expect(await new Promise((ended) => child.once('exit', ended))).toBe(0);
  });

  it('says that a queue is not there', async () => {
    const { code, stderr } = await servers.run('listen', join(servers.folder, 'rules.json'), '--sqs', `${queue.url}x`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/BadConfig: The queue .*datasetsx cannot be read/);
  });
});

describe('the Lambda function', () => {
  const context = { getRemainingTimeInMillis: () => 20_000 };
  const call = (name: string) => handler(JSON.parse(fixture(name)), context);
  beforeAll(async () => {
    Object.assign(process.env, { LILORA_RULES: RULES, TEMPORAL_ADDRESS: servers.address, LILORA_LOG_LEVEL: 'silent' });
    const client = new S3Client({ forcePathStyle: true });
    await client.send(new CreateBucketCommand({ Bucket: DEMO }));
    client.destroy();
    await dataset(`s3://${DEMO}/datasets/my dogs`, 'my-dogs', 8);
    await dataset(`s3://${DEMO}/datasets/my dogs+cats`, 'dogs-and-cats', 9);
  });

  it('takes S3 notifications and EventBridge events, and nothing from the rest', async () => {
    expect(await call('s3-put')).toBeUndefined();
    expect(await call('eventbridge-created')).toBeUndefined();
    expect(await call('s3-removed')).toBeUndefined();
    expect((await tasks('lambda')).map(({ task }) => task)).toEqual(['my-dogs', 'dogs-and-cats']);
  });

  it('answers a batch with the messages to keep', async () => {
    const kept = [{ itemIdentifier: 'c80e8021-a70a-42c7-a470-796e1186f753' }];
    expect(await call('lambda-sqs')).toEqual({ batchItemFailures: kept });
    expect(await tasks('lambda')).toHaveLength(2);
  });

  it('fails, so that it is called again, when a dataset cannot be submitted', async () => {
    await expect(call('s3-multipart')).rejects.toThrow(/NotFound: .*café 100%/);
    await expect(handler({ foo: 2 }, context)).rejects.toThrow(/no message about objects/);
    const late = { getRemainingTimeInMillis: () => 0 };
    const event = JSON.parse(fixture('s3-put').replaceAll('0055AED6DCD90281E5', '0055AED6DCD90281E9'));
    await expect(handler(event, late)).rejects.toThrow(/did not answer in time/);
  });
});
