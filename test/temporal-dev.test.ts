import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
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
  args.push('--log-level', 'never');
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

/** Tells the worker controller of a namespace to start a program when a task of queue `gpu` waits. */
async function startsWorkersBy(connection: Connection, namespace: string, details: object) {
  const service = connection.workflowService;
  const deploymentVersion = { deploymentName: 'gpu', buildId: 'one' };
  const encoding = new TextEncoder();
  const metadata = { encoding: encoding.encode('json/plain') };
  const provider = { type: 'subprocess', details: { metadata, data: encoding.encode(JSON.stringify(details)) } };
  await service.createWorkerDeployment({ namespace, deploymentName: 'gpu', requestId: 'one' });
  const computeConfig = { scalingGroups: { default: { provider } } };
  await service.createWorkerDeploymentVersion({ namespace, deploymentVersion, requestId: 'two', computeConfig });
  const current = { namespace, ...deploymentVersion, allowNoPollers: true, ignoreMissingTaskQueues: true };
  await service.setWorkerDeploymentCurrentVersion(current);
}

it('starts a worker process by itself when a task waits and nobody polls', async () => {
  const [program, sign] = [join(folder, 'worker.sh'), join(folder, 'a-worker-was-started')];
  writeFileSync(program, `#!/bin/sh\ntouch ${sign}\n`, { mode: 0o700 });
  const { connection } = await start('--namespace', 'serverless', '--compute-command', program);
  await startsWorkersBy(connection, 'serverless', { command: program, timeout: '1m' });
  const workflow = { workflowId: 'waits', workflowType: { name: 'any' }, taskQueue: { name: 'gpu' } };
  await connection.workflowService.startWorkflowExecution({ namespace: 'serverless', ...workflow, requestId: 'three' });
  await vi.waitFor(() => expect(existsSync(sign)).toBe(true), { timeout: 30_000, interval: 100 });
  await connection.close();
});

it('starts no other program than the one it was told of, and none by default', async () => {
  const [allowed, other] = [join(folder, 'worker.sh'), join(folder, 'other.sh')];
  for (const [namespace, flags, details, why] of [
    ['none', [], { command: other, timeout: '1m' }, 'subprocess'],
    ['one', ['--compute-command', allowed], { command: other, timeout: '1m' }, '--compute-command only'],
    ['arguments', ['--compute-command', allowed], { command: allowed, args: '-c,id', timeout: '1m' }, 'not "args"'],
  ] as const) {
    const { child, connection } = await start('--namespace', namespace, ...flags);
    await expect(startsWorkersBy(connection, namespace, details)).rejects.toThrow(why);
    await connection.close();
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});

it('serves its UI to this machine alone, and leaves its database to its owner', async () => {
  const { connection } = await start();
  /** Status of a request as a browser sends it whose page, or whose idea of this machine's name, is another. */
  const status = (headers: Record<string, string>, method = 'GET') =>
    new Promise<number | undefined>((answered, failed) => {
      const path = '/api/v1/cluster-info';
      request({ host: '127.0.0.1', port: uiPort, path, method, headers }, ({ statusCode }) => answered(statusCode))
        .on('error', failed)
        .end();
    });
  expect(await status({})).toBe(200);
  expect(await status({ host: `localhost:${uiPort}`, origin: `http://localhost:${uiPort}` })).toBe(200);
  for (const host of ['rebind.evil.example', `rebind.evil.example:${uiPort}`, '127.0.0.1.evil.example'])
    expect(await status({ host }), host).toBe(403);
  for (const origin of ['http://evil.example', `http://127.0.0.1:${uiPort + 1}`, 'null'])
    expect(await status({ host: `127.0.0.1:${uiPort}`, origin }, 'POST'), origin).toBe(403);
  expect(statSync(join(folder, 'temporal.db')).mode & 0o077).toBe(0);
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
