import { CreateMultipartUploadCommand, S3Client, UploadPartCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll } from 'vitest';
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

let stores = 0;
compactionSuite('S3', () => openStore(`s3://lilora-test/compaction-${stores++}`));
