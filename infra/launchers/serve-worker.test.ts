import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ROOT } from '../../workers/runtime.ts';

/** The server itself, with workers that cannot reach Temporal and therefore end at once, with an error. */
const server = spawn(process.execPath, [join(ROOT, 'infra/launchers/serve-worker.mjs')], {
  env: {
    ...process.env,
    PORT: '0',
    LILORA_LAUNCHER_TOKEN: 'right',
    LILORA_STORE: '/nowhere',
    TEMPORAL_ADDRESS: '127.0.0.1:9',
  },
  stdio: ['ignore', 'ignore', 'pipe'],
});
let url = '';
beforeAll(async () => {
  const port = await new Promise<string>((up) => {
    server.stderr.on('data', (text: Buffer) => {
      const found = /on port (\d+)/.exec(text.toString());
      if (found) up(found[1]!);
    });
  });
  url = `http://127.0.0.1:${port}`;
});
afterAll(() => {
  server.kill('SIGKILL');
});

const post = (order: unknown, token = 'right') =>
  fetch(`${url}/invocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: typeof order === 'string' ? order : JSON.stringify(order),
  });
const order = { queue: 'lilora-gpu', idleExitSeconds: 1, key: 'a' };

it('is alive while nothing runs', async () => {
  expect(await (await fetch(`${url}/ping`)).json()).toEqual({ running: false });
});

it('takes orders only with the token, and only orders', async () => {
  expect((await post(order, 'wrong')).status).toBe(401);
  for (const bad of [{}, { ...order, queue: '--help' }, { ...order, idleExitSeconds: 0 }, 'no JSON', '[1'])
    expect((await post(bad)).status, JSON.stringify(bad)).toBe(400);
  expect((await fetch(`${url}/other`, { method: 'POST' })).status).toBe(404);
});

it('answers when the worker has ended, once for two orders at a time, and lets a failed order be tried again', async () => {
  const [first, second] = await Promise.all([post(order), post({ ...order, key: 'b' })]);
  expect(first.status).toBe(500);
  expect(await first.json()).toEqual({ key: 'a', exitCode: 1 });
  expect(second.status).toBe(500);
  const again = await fetch(url, {
    method: 'POST',
    headers: { authorization: 'Bearer right' },
    body: JSON.stringify(order),
  });
  expect(again.status).toBe(202);
  expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ running: true });
});
