import { Context } from '@temporalio/activity';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type TaskDescription, taskWorkflowId } from '../workflows/contract.ts';
import { type Steer, withScriptedStream } from './scripted-stream.ts';
import { retry, TestServers } from './servers.ts';

/** What is asked of a task while its worker is gone: no one answers, and the server notices by the silence. */
let servers: TestServers;
beforeAll(async () => {
  servers = await TestServers.start({ s3: false });
});
afterAll(() => servers.stop());

const spent = { seconds: 30, waitedSeconds: 4, usefulSeconds: 20, bytesRead: 7, bytesWritten: 8, reads: 1, writes: 2 };

/** A stream whose first training says once what it spent, and is never heard of again. */
async function withLostWorker(name: string, body: (steer: Steer, gpuQueue: string) => Promise<void>) {
  let release = () => {};
  const training = (attempt: number) => {
    if (attempt > 1) return Promise.resolve();
    Context.current().heartbeat({ spent });
    return new Promise<void>((resolve) => (release = resolve));
  };
  const limits = { trainHours: 1, heartbeatSeconds: 2, checkpointSeconds: 60 };
  const script = { score: (bank: string | null) => (bank === null ? 10 : 80), training };
  await withScriptedStream(servers, name, { limits }, script, async (steer) => {
    try {
      await steer.submit('s3://d/a');
      await retry(async () => expect(steer.calls).toContain('train a'));
      await body(steer, `lilora-gpu-${name}`);
    } finally {
      release();
    }
  });
}

it('a cancelled task is cancelled, and what its worker had spent is counted', async () => {
  await withLostWorker('lost-cancelled', async ({ handle, until, describe }, queue) => {
    await handle.executeUpdate('cancelTask', { args: [{ task: 'a' }] });
    await until('a', 'cancelled');
    const [line] = (await describe()).tasks;
    expect(line?.usage?.[queue]).toEqual({ gpu: true, steps: 1, ...spent });
  });
});

it('a paused task is paused, and goes on with another worker', async () => {
  await withLostWorker('lost-paused', async ({ handle, until, calls, describe }, queue) => {
    const task = servers.client.workflow.getHandle(taskWorkflowId('lost-paused', 'a'));
    await handle.signal('pause');
    await retry(async () => {
      const now = await task.query<TaskDescription>('describe');
      expect(now.phase).toBe('paused');
      expect(now.usage?.[queue]?.seconds).toBe(30);
    });
    expect(calls.filter((call) => call === 'train a')).toHaveLength(1);
    await handle.signal('resume');
    await until('a', 'published');
    expect((await describe()).usage?.[queue]).toMatchObject({ steps: 1, ...spent });
  });
});
