import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import pino from 'pino';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DEFAULTS } from '../core/defaults.ts';
import { protectFromScaleIn } from './scale-in.ts';

/** The ECS agent's endpoint, as its documentation has it. */
const seen: { method: string; url: string; body: { ProtectionEnabled: boolean; ExpiresInMinutes?: number } }[] = [];
let status = 200;
const agent = createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => (body += chunk));
  request.on('end', () => {
    seen.push({ method: request.method!, url: request.url!, body: JSON.parse(body) });
    response.writeHead(status).end('{"protection": {}}');
  });
});
beforeEach(async () => {
  await new Promise<void>((up) => agent.listen(0, '127.0.0.1', up));
});
afterEach(async () => {
  vi.useRealTimers();
  seen.length = 0;
  status = 200;
  agent.closeAllConnections();
  await new Promise((closed) => agent.close(closed));
});
const uri = () => `http://127.0.0.1:${(agent.address() as AddressInfo).port}`;
const log = pino({ level: 'silent' });
const run = (factory: ReturnType<typeof protectFromScaleIn>, work: () => Promise<unknown>) => {
  const execute = factory().inbound?.execute;
  return execute ? execute({ args: [], headers: {} }, work as never) : work();
};
const linger = DEFAULTS['worker.protectionLingerSeconds'].value * 1000;
const toldTimes = (count: number) => vi.waitFor(() => expect(seen).toHaveLength(count));

it('protects the task while an activity runs, once for steps that follow each other, and then no more', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
  const factory = protectFromScaleIn(log, uri());
  await run(factory, () => vi.waitFor(() => expect(seen[0]?.body.ProtectionEnabled).toBe(true)));
  expect(seen[0]).toEqual({
    method: 'PUT',
    url: '/task-protection/v1/state',
    body: { ProtectionEnabled: true, ExpiresInMinutes: DEFAULTS['worker.protectionMinutes'].value },
  });
  vi.advanceTimersByTime(linger / 2);
  expect(await run(factory, async () => 'second')).toBe('second');
  vi.advanceTimersByTime(linger / 2);
  expect(seen).toHaveLength(1);
  vi.advanceTimersByTime(linger);
  await toldTimes(2);
  expect(seen[1]!.body).toEqual({ ProtectionEnabled: false });
});

it('renews the protection of a long activity', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
  const factory = protectFromScaleIn(log, uri());
  await run(factory, async () => {
    await toldTimes(1);
    vi.advanceTimersByTime(DEFAULTS['worker.protectionMinutes'].value * 30_000);
    await toldTimes(2);
  });
  expect(seen.map(({ body }) => body.ProtectionEnabled)).toEqual([true, true]);
});

it('works on when ECS refuses or is not there', async () => {
  status = 400;
  expect(await run(protectFromScaleIn(log, uri()), async () => 'done')).toBe('done');
  expect(await run(protectFromScaleIn(log, 'http://127.0.0.1:9'), async () => 'done')).toBe('done');
  expect(await run(protectFromScaleIn(log, ''), async () => 'done')).toBe('done');
});
