import { afterAll, beforeAll, expect, it } from 'vitest';
import { type TaskDescription, taskWorkflowId } from '../workflows/contract.ts';
import { withScriptedStream } from './scripted-stream.ts';
import { retry, TestServers } from './servers.ts';

/** Messages that are none, as anybody who reaches the namespace can send them: they harm nobody. */
let servers: TestServers;
beforeAll(async () => {
  servers = await TestServers.start({ s3: false });
});
afterAll(() => servers.stop());

const NOT_A_TASK = [undefined, null, 5, 'a', [], {}, { task: null }, { task: ['a'] }, { task: '../a' }, { task: {} }];
const UPDATES: Readonly<Record<string, readonly unknown[]>> = {
  submitTask: [undefined, null, 5, {}, { dataset: 5 }, { dataset: '' }, { dataset: 's3://x', task: ['abc'] }],
  removeTask: NOT_A_TASK,
  cancelTask: NOT_A_TASK,
  decideGate: [...NOT_A_TASK, { task: 'a', decision: 'maybe' }, { task: 'a', decision: 'approve', reason: {} }],
  rollback: [undefined, null, {}, { generation: null }, { generation: '1' }, { generation: 0 }, { generation: 1e300 }],
  raiseBudget: [undefined, null, {}, { taskMoney: 'much' }, { taskMoney: -1 }, { unknown: 1 }, [1]],
  compact: [
    undefined,
    null,
    {},
    { run: { id: 'x' }, settings: { keepGenerations: 0 } },
    { run: { id: '../../x', startedAt: '2026-01-01' }, settings: { keepGenerations: 0 }, apply: true },
    { run: { id: 'x', startedAt: 'no date' }, settings: { keepGenerations: 0 }, apply: true },
  ],
};
const SIGNALS: Readonly<Record<string, readonly unknown[]>> = {
  taskUsage: [
    undefined,
    null,
    5,
    {},
    { task: 'x', usage: 5 },
    { task: 'x', usage: { q: null } },
    { task: 1, usage: {} },
  ],
  pause: [{ odd: 1 }],
  resume: [null],
};
const TASK_SIGNALS: Readonly<Record<string, readonly unknown[]>> = {
  progress: [undefined, null, 5, {}, { step: 'x', steps: 1 }, { step: 1, steps: 2, loss: null, spent: null }],
  budget: [undefined, null, 5, { taskMoney: 'x' }],
  gateDecision: [undefined, null, { decision: 'maybe' }],
  nonesuch: [{}],
};

it('refuses or ignores messages that are none, to a stream and to a task, and goes on learning', async () => {
  let release = () => {};
  const training = () => new Promise<void>((done) => (release = done));
  const script = { score: (bank: string | null) => (bank === null ? 10 : 80), training };
  await withScriptedStream(servers, 'poisoned', {}, script, async ({ submit, until, handle, describe }) => {
    for (const [update, messages] of Object.entries(UPDATES))
      for (const message of messages)
        await expect(
          handle.executeUpdate(update, { args: [message] }),
          `${update} ${JSON.stringify(message)}`,
        ).rejects.toMatchObject({ cause: { type: expect.stringMatching(/^(BadConfig|NotFound)$/) } });
    for (const [signal, messages] of Object.entries(SIGNALS))
      for (const message of messages) await handle.signal(signal, message);
    await submit('s3://d/a');
    const task = servers.client.workflow.getHandle(taskWorkflowId('poisoned', 'a'));
    await retry(async () => expect((await task.query<TaskDescription>('describe')).phase).toBe('train'));
    for (const [signal, messages] of Object.entries(TASK_SIGNALS))
      for (const message of messages) await task.signal(signal, message);
    expect(await task.query<TaskDescription>('describe')).toMatchObject({ phase: 'train', progress: null });
    release();
    await until('a', 'published');
    expect((await describe()).trouble).toBeUndefined();
    for (const workflow of [handle, task]) {
      const { events } = await workflow.fetchHistory();
      expect(events!.filter(({ workflowTaskFailedEventAttributes: failed }) => failed)).toEqual([]);
    }
  });
});

it('fails a workflow whose input is none at once, instead of trying it for ever', async () => {
  await withScriptedStream(servers, 'inputs', {}, { score: () => 50 }, async () => {
    for (const [i, args] of [[], [null], [{}], [{ schema: 1 }], [{ schema: 1, definition: { name: ['x'] } }]].entries())
      await expect(
        servers.client.workflow.execute('stream', { taskQueue: 'lilora', workflowId: `odd-${i}`, args }),
      ).rejects.toMatchObject({ cause: { type: 'BadConfig' } });
  });
});
