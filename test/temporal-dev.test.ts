import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { choices } from '../infra/setup/choose.mjs';

const { path: executable } = choices().temporal;
const folder = mkdtempSync(join(tmpdir(), 'lilora-temporal-'));
const running = new Set<ChildProcess>();
let port: number;
let uiPort: number;

beforeAll(async () => {
  if (!executable) throw new Error('These tests need the Temporal server: run `node infra/setup/main.mjs`.');
  [port, uiPort] = [await freePort(), await freePort()];
});
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
  running.clear();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Starts the server on the one database file of this test and waits until it answers. */
async function start(...flags: string[]) {
  const args = ['--port', String(port), '--ui-port', String(uiPort), '--db-filename', join(folder, 'temporal.db')];
  const child = spawn(executable!, ['server', 'start-dev', ...args, ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running.add(child);
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (text) => String(text).includes(`Temporal 127.0.0.1:${port}`) && resolve());
    child.on('exit', (code) => reject(new Error(`the server ended with ${code}`)));
  });
  const connection = await Connection.connect({ address: `127.0.0.1:${port}` });
  return { child, connection };
}

it('keeps workflows and search attributes over kill -9, and adds new attributes to an old file', async () => {
  const first = await start('--namespace', 'lab', '--search-attribute', 'LiloraStream=Keyword');
  const { namespaceInfo } = await first.connection.workflowService.describeNamespace({ namespace: 'lab' });
  expect(namespaceInfo?.name).toBe('lab');
  const workflow = {
    namespace: 'lab',
    workflowId: 'kept',
    workflowType: { name: 'none' },
    taskQueue: { name: 'none' },
  };
  const { runId } = await first.connection.workflowService.startWorkflowExecution({ ...workflow, requestId: 'one' });
  await first.connection.close();
  first.child.kill('SIGKILL');
  await once(first.child, 'exit');

  const flags = ['--search-attribute', 'LiloraStream=Keyword', '--search-attribute', 'LiloraForgetting=Double'];
  const second = await start('--namespace', 'lab', ...flags);
  const { workflowExecutionInfo: kept } = await second.connection.workflowService.describeWorkflowExecution({
    namespace: 'lab',
    execution: { workflowId: 'kept' },
  });
  expect(kept?.execution?.runId).toBe(runId);
  const { customAttributes } = await second.connection.operatorService.listSearchAttributes({ namespace: 'lab' });
  expect(Object.keys(customAttributes ?? {})).toEqual(expect.arrayContaining(['LiloraStream', 'LiloraForgetting']));

  const settings = await fetch(`http://127.0.0.1:${uiPort}/api/v1/settings`);
  expect(((await settings.json()) as { DefaultNamespace: string }).DefaultNamespace).toBe('default');
  expect(await (await fetch(`http://127.0.0.1:${uiPort}/`)).text()).toContain('<html');
  await second.connection.close();
  second.child.kill('SIGTERM');
  expect((await once(second.child, 'exit'))[0]).toBe(0);
});

it('starts a worker process by itself when a task waits and nobody polls', async () => {
  const { connection } = await start('--namespace', 'serverless');
  const service = connection.workflowService;
  const namespace = 'serverless';
  const deploymentVersion = { deploymentName: 'gpu', buildId: 'one' };
  const sign = join(folder, 'a-worker-was-started');
  await service.createWorkerDeployment({ namespace, deploymentName: 'gpu', requestId: 'one' });
  const details = { command: 'touch', args: sign, timeout: '1m' };
  const encoding = new TextEncoder();
  await service.createWorkerDeploymentVersion({
    namespace,
    deploymentVersion,
    requestId: 'two',
    computeConfig: {
      scalingGroups: {
        default: {
          provider: {
            type: 'subprocess',
            details: {
              metadata: { encoding: encoding.encode('json/plain') },
              data: encoding.encode(JSON.stringify(details)),
            },
          },
        },
      },
    },
  });
  await service.setWorkerDeploymentCurrentVersion({
    namespace,
    ...deploymentVersion,
    allowNoPollers: true,
    ignoreMissingTaskQueues: true,
  });
  const workflow = { workflowId: 'waits', workflowType: { name: 'any' }, taskQueue: { name: 'gpu' } };
  await service.startWorkflowExecution({ namespace, ...workflow, requestId: 'three' });
  await vi.waitFor(() => expect(existsSync(sign)).toBe(true), { timeout: 30_000, interval: 100 });
  await connection.close();
});

it('names what is wrong with its flags', async () => {
  const say = async (...args: string[]) => {
    const child = spawn(executable!, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    child.stderr.on('data', (part) => {
      text += part;
    });
    const [code] = await once(child, 'close');
    return { code, text };
  };
  expect(await say('server')).toMatchObject({ code: 1, text: expect.stringContaining('usage: temporal-dev') });
  const kind = await say('server', 'start-dev', '--search-attribute', 'A=Number');
  expect(kind).toMatchObject({ code: 1, text: expect.stringContaining('want Name=Type') });
  const value = await say('server', 'start-dev', '--dynamic-config-value', 'a.b={');
  expect(value).toMatchObject({ code: 1, text: expect.stringContaining('not JSON') });
});

it("is a server for the SDK's own test environment", async () => {
  const environment = await TestWorkflowEnvironment.createLocal({
    server: { executable: { type: 'existing-path', path: executable! }, searchAttributes: [] },
  });
  try {
    const info = await environment.connection.workflowService.getSystemInfo({});
    expect(info.serverVersion).toBe('1.32.0');
  } finally {
    await environment.teardown();
  }
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (typeof address !== 'object' || !address) throw new Error('no port');
  return address.port;
}
