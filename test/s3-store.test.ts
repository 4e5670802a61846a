import {
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DirectReads } from '../store/direct-reads.ts';
import { MeteredStore, noTraffic } from '../store/metered.ts';
import { openStore } from '../store/open.ts';
import { compactionSuite } from './compaction-suite.ts';
import { TestServers } from './servers.ts';
import { storeSuite } from './store-suite.ts';

let servers: TestServers;
beforeAll(async () => {
  servers = await TestServers.start({ temporal: false });
});
afterAll(() => servers.stop());

/** Leaves a multipart upload behind. */
const abandonIn = (prefix: string) => async (key: string, Body: Uint8Array) => {
  const client = new S3Client({ forcePathStyle: true });
  const at = { Bucket: 'lilora-test', Key: `${prefix}/${key}` };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(at));
  await client.send(new UploadPartCommand({ ...at, UploadId, PartNumber: 1, Body }));
  client.destroy();
};
storeSuite('S3', () => openStore('s3://lilora-test/plain'), abandonIn('plain'));
storeSuite(
  'metered S3',
  () => new MeteredStore(openStore('s3://lilora-test/metered'), noTraffic()),
  abandonIn('metered'),
);

it('direct reads begin where the SDK showed the way, and leave to it what is refused', async () => {
  const client = new S3Client({ forcePathStyle: true });
  const wrong = new S3Client({
    forcePathStyle: true,
    credentials: { accessKeyId: 'test-access', secretAccessKey: 'no' },
  });
  const at = (Key: string) => ({ Bucket: 'lilora-test', Key });
  const key = 'direct/with space.txt';
  await client.send(new PutObjectCommand({ ...at(key), Body: 'content' }));
  const reads = new DirectReads(client);
  expect(await reads.open(key)).toBeNull();
  const look = async (through: S3Client, direct: DirectReads) => {
    const command = new GetObjectCommand(at(key));
    direct.watch(command, key);
    await through.send(command).then(({ Body }) => Body?.transformToString());
  };
  await look(client, reads);
  const found = (await reads.open(key))!;
  expect(found).toMatchObject({ size: 7, etag: expect.stringMatching(/^".+"$/) });
  const chunks: Uint8Array[] = [];
  for await (const chunk of found.body) chunks.push(chunk);
  expect(Buffer.concat(chunks).toString()).toBe('content');
  expect(await reads.open('direct/missing')).toBeNull();

  const refused = new DirectReads(wrong);
  await look(client, refused);
  expect(await refused.open(key)).toBeNull();
  for (const each of [client, wrong]) each.destroy();
});

let stores = 0;
compactionSuite('S3', () => openStore(`s3://lilora-test/compaction-${stores++}`));
