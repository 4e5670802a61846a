import { afterAll, beforeAll } from 'vitest';
import { MeteredStore, noTraffic } from '../store/metered.ts';
import { openStore } from '../store/open.ts';
import { TestServers } from './servers.ts';
import { storeSuite } from './store-suite.ts';

let servers: TestServers;
beforeAll(async () => {
  servers = await TestServers.start({ temporal: false });
});
afterAll(() => servers.stop());

storeSuite('S3', () => openStore('s3://lilora-test/plain'));
storeSuite('metered S3', () => new MeteredStore(openStore('s3://lilora-test/metered'), noTraffic()));
