import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { sha256 } from '../core/digest.ts';
import { DirectReads } from '../store/direct-reads.ts';
import { MeteredStore, noTraffic } from '../store/metered.ts';
import { getVerified, verifyObject } from '../store/object-store.ts';
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

it('reads once more what was damaged on its way, and says so of what is damaged in the store', async () => {
  const bytes = new TextEncoder().encode('what was written');
  const plain = openStore('s3://lilora-test/flipped');
  await plain.put('object', bytes);
  let damaged = 0;
  let flips = 1;
  // Passes everything on, and flips a bit in the bodies of the first reads.
  const proxy = createServer((from, to) => {
    const { hostname, port } = new URL(process.env['AWS_ENDPOINT_URL']!);
    const { method, url: path, headers } = from;
    const passed = request({ hostname, port, method, path, headers }, (answer) => {
      to.writeHead(answer.statusCode!, answer.headers);
      answer.on('data', (part: Buffer) => {
        if (method === 'GET' && flips > damaged) part[damaged++ % part.length]! ^= 1;
        to.write(part);
      });
      answer.on('end', () => to.end());
    });
    from.pipe(passed);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as AddressInfo;
  const store = openStore('s3://lilora-test/flipped', { endpoint: `http://127.0.0.1:${port}` });
  const expected = { size: bytes.byteLength, sha256: sha256(bytes) };
  try {
    expect(await getVerified(store, 'object', expected)).toEqual(bytes);
    expect(damaged).toBe(1);
    flips = 2;
    await verifyObject(store, 'object', expected);
    expect(damaged).toBe(2);
    flips = 100;
    await expect(getVerified(store, 'object', expected)).rejects.toMatchObject({ name: 'IntegrityError' });
  } finally {
    proxy.close();
  }
});

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
