import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { DefaultLogger, NativeConnection, Runtime } from '@temporalio/worker';
import pino from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runUntilIdle } from '../workers/run-until-idle.ts';
import { Work } from '../workers/work.ts';
import { TestServers } from './servers.ts';

/** Workers that leave when idle, and tasks that come in that very moment, on a real server. */
let servers: TestServers;
let connection: NativeConnection;

beforeAll(async () => {
  servers = await TestServers.start({ s3: false });
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  connection = await NativeConnection.connect({ address: servers.address });
});
afterAll(async () => {
  await connection?.close();
  await servers.stop();
});

it('never loses a task that was dispatched while a worker left', async () => {
  const IDLE = 0.1;
  const lives: Work[] = [];
  const attempts: string[] = [];
  const stopping = new AbortController();
  setMaxListeners(0, stopping.signal);
  const taskQueue = 'comings-and-goings';
  // As soon as one worker has left, the next one comes: the part of the worker controller.
  const workers = (async () => {
    while (!stopping.signal.aborted) {
      const work = new Work();
      lives.push(work);
      const activities = work.watch({
        take: async (id: string) => {
          attempts.push(id);
          return lives.length;
        },
      });
      const until = { work, stopping: stopping.signal, idleExitSeconds: IDLE };
      const options = { connection, taskQueue, activities, maxConcurrentActivityTaskExecutions: 1 };
      await runUntilIdle({ ...options, shutdownGraceTime: '1d' }, until, pino({ level: 'silent' }));
    }
  })();
  const dispatched: string[] = [];
  for (let i = 0; i < 50; i++) {
    // From 48 ms before the idle exit to 24 ms after it, in steps that repeat.
    await sleep(IDLE * 1000 - 48 + (i % 25) * 3);
    const id = `task-${i}`;
    dispatched.push(id);
    // One attempt only: a task that is given to a worker that has gone would time out and fail.
    await servers.client.activity.execute('take', {
      id,
      taskQueue,
      args: [id],
      startToCloseTimeout: '2s',
      retry: { maximumAttempts: 1 },
    });
  }
  stopping.abort();
  await workers;
  expect(attempts).toEqual(dispatched);
  // The moments were well chosen: some workers left, some were caught by a task first.
  expect(lives.length).toBeGreaterThan(5);
  expect(lives.some(({ begun }) => begun > 1)).toBe(true);
});
