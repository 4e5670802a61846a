import { fileURLToPath } from 'node:url';
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { type NativeConnection, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { comparison, outcomeQuery, type PlannedStream } from '../bench/stream/workflow.ts';
import { connectWorker, loadSettings } from '../workers/config.ts';
import { TestServers } from './servers.ts';

/** The workflow of the comparison of methods, with activities that only pretend to learn. */
let servers: TestServers;
let connection: NativeConnection;
beforeAll(async () => {
  servers = await TestServers.start();
  connection = await connectWorker(loadSettings(servers.env));
});
afterAll(async () => {
  await connection.close();
  await servers.stop();
});

const streams = ['good', 'bad', 'long'].map((stream) => ({
  ...{ stream, run: stream, seed: 0, order: 'given', instructions: 'single' },
}));

it('learns every stream once, whatever fails or ends in between', async () => {
  const done: string[] = [];
  const tried: string[] = [];
  let interrupted = false;
  const start = (learn: (planned: PlannedStream) => Promise<void>) =>
    Worker.create({
      connection,
      taskQueue: 'bench-stream',
      workflowsPath: fileURLToPath(new URL('../bench/stream/workflow.ts', import.meta.url)),
      activities: {
        learnStream: async (planned: PlannedStream) => {
          tried.push(planned.stream);
          if (planned.stream === 'bad') throw ApplicationFailure.nonRetryable('The gate let nothing pass.');
          if (planned.stream === 'long') await learn(planned);
          done.push(planned.stream);
        },
      },
    });
  const handle = await servers.client.workflow.start(comparison, {
    ...{ workflowId: 'bench-stream/test', taskQueue: 'bench-stream', args: [{ streams, atOnce: 2 }] },
  });
  const first = await start(async () => {
    await Context.current().cancelled.catch((error: unknown) => {
      interrupted = true;
      throw error;
    });
  });
  await first.runUntil(async () => {
    for (;;) {
      const { learned, failed } = await handle.query(outcomeQuery);
      if (learned.length > 0 && failed.length > 0 && tried.includes('long')) return;
      await new Promise((wake) => setTimeout(wake, 50));
    }
  });
  expect([done, interrupted]).toEqual([['good'], true]);
  const second = await start(async () => {});
  const outcome = await second.runUntil(() => handle.result());
  expect(outcome).toEqual({
    learned: ['good', 'long'],
    failed: [{ stream: 'bad', why: 'The gate let nothing pass.' }],
  });
  // The first two run side by side, in either order.
  expect([...tried].sort()).toEqual(['bad', 'good', 'long', 'long']);
});
