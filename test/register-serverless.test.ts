import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NativeConnection, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { registerServerless, unregisterServerless } from '../workers/serverless.ts';
import { retry, TestServers } from './servers.ts';

/** What is told to the worker controller, on a real one. The workers that it starts only write down that they were started. */
const QUEUE = 'gpus';
let servers: TestServers;
let command: string;
let journal: string;

beforeAll(async () => {
  servers = await TestServers.start({ s3: false });
  [command, journal] = [servers.computeCommand, join(servers.folder, 'journal')];
  // Its parent is timeout(1): of its arguments, the time tells which details it was started with.
  writeFileSync(command, `#!/bin/sh\ntr '\\0' ' ' </proc/$PPID/cmdline >>${journal}\necho >>${journal}\n`, {
    mode: 0o700,
  });
});
afterAll(() => servers.stop());

const register = (buildId: string, timeout: string) =>
  registerServerless(servers.client, {
    queue: QUEUE,
    deployment: QUEUE,
    buildId,
    compute: { provider: 'subprocess', details: { command, timeout } },
  });
const started = () =>
  existsSync(journal) ? [...readFileSync(journal, 'utf8').matchAll(/^timeout (\d+)\./gm)].map(([, s]) => `${s}s`) : [];
const versions = async () => {
  const found = await servers.client.connection.workflowService.describeWorkerDeployment({
    namespace: 'default',
    deploymentName: QUEUE,
  });
  const { versionSummaries, routingConfig } = found.workerDeploymentInfo!;
  const controlled = versionSummaries!.filter(({ computeConfig }) => computeConfig?.scalingGroups?.['gpu']);
  return {
    current: routingConfig!.currentDeploymentVersion?.buildId,
    controlled: controlled.map(({ deploymentVersion }) => deploymentVersion!.buildId).sort(),
  };
};
const dispatch = (id: string) =>
  servers.client.activity.start('work', { id, taskQueue: QUEUE, args: [id], startToCloseTimeout: '30s' });

it('starts nothing by itself, then one worker for a task that finds none, with the newest details', async () => {
  await register('one', '61s');
  await register('one', '62s');
  await sleep(1000);
  expect(started()).toEqual([]);
  expect(await versions()).toEqual({ current: 'one', controlled: ['one'] });
  await dispatch('first');
  await retry(async () => expect(started()).toEqual(['62s']));
});

it('gives the queue to a new version, and takes the controller from the old one', async () => {
  await register('two', '63s');
  await retry(async () => expect(await versions()).toEqual({ current: 'two', controlled: ['one', 'two'] }));
  await unregisterServerless(servers.client, QUEUE, 'two');
  await retry(async () => expect(await versions()).toEqual({ current: 'two', controlled: ['two'] }));
  await dispatch('second');
  await retry(async () => expect(started()).toEqual(['62s', '63s']));
});

it('gives the queue back to ordinary workers, with all that waits', async () => {
  await unregisterServerless(servers.client, QUEUE);
  await retry(async () => expect(await versions()).toEqual({ current: undefined, controlled: [] }));
  const third = await dispatch('third');
  const connection = await NativeConnection.connect({ address: servers.address });
  const done: string[] = [];
  const worker = await Worker.create({
    connection,
    taskQueue: QUEUE,
    activities: { work: async (id: string) => void done.push(id) },
  });
  await worker.runUntil(async () => {
    await third.result();
    await retry(async () => expect(done.sort()).toEqual(['first', 'second', 'third']));
  });
  await connection.close();
  expect(started()).toHaveLength(2);
  await unregisterServerless(servers.client, 'never-heard-of');
});

it('explains what the server refuses', async () => {
  const other = (provider: string, details: Record<string, unknown>) =>
    registerServerless(servers.client, { queue: 'q', deployment: 'q', buildId: '1', compute: { provider, details } });
  await expect(other('gcp-cloud-run', { project: 'p' })).rejects.toThrow(
    /BadConfig|does not take compute provider gcp-cloud-run: .*compute_providers\.enabled/,
  );
  await expect(other('subprocess', { command: '/no/such/file' })).rejects.toThrow(
    /compute provider subprocess: .*\/no\/such\/file.*Correct the details/,
  );
});
