import { fileURLToPath } from 'node:url';
import { WorkflowUpdateFailedError } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { namedFailures } from '../activities/failures.ts';
import { connectWorker, ensureSearchAttributes, loadSettings } from '../workers/config.ts';
import type { ResolvedStream, StreamDescription, Submission } from '../workflows/contract.ts';
import { QUEUES, SCHEMA, streamWorkflowId, taskWorkflowId } from '../workflows/contract.ts';
import { recordHistories } from './record.ts';
import { type Script, scriptedActivities, scriptedDefinition } from './scripted-learning.ts';
import { retry, TestServers } from './servers.ts';

/**
 * The decisions of the workflows, on a real Temporal server, with activities that answer from a script: what is decided
 * is under test here, not what is computed.
 */
let servers: TestServers;
beforeAll(async () => {
  servers = await TestServers.start({ s3: false });
});
afterAll(() => servers.stop());

/** Runs one stream with scripted activities; `body` steers it. */
async function withStream(
  name: string,
  changes: Omit<Partial<ResolvedStream>, 'gate'> & { gate?: Partial<ResolvedStream['gate']> },
  script: Script,
  body: (s: Steer) => Promise<void>,
) {
  const definition = scriptedDefinition(name);
  const { calls, data, gpu } = scriptedActivities(
    { ...definition, ...changes, gate: { ...definition.gate, ...changes.gate } },
    script,
  );
  const { gpuQueue, evaluationQueue = gpuQueue } = { ...definition, ...changes };
  const settings = loadSettings(servers.env);
  const connection = await connectWorker(settings);
  await ensureSearchAttributes(connection, 'default');
  const interceptors = { activity: [namedFailures] };
  const workers = await Promise.all([
    Worker.create({
      connection,
      taskQueue: QUEUES.orchestrator,
      workflowsPath: fileURLToPath(new URL('../workflows/index.ts', import.meta.url)),
    }),
    Worker.create({ connection, taskQueue: QUEUES.data, activities: data, interceptors }),
    ...[...new Set([gpuQueue, evaluationQueue])].map((taskQueue) =>
      Worker.create({ connection, taskQueue, activities: gpu, interceptors }),
    ),
  ]);
  const running = Promise.all(workers.map((worker) => worker.run()));
  const handle = await servers.client.workflow.start('stream', {
    workflowId: streamWorkflowId(name),
    taskQueue: QUEUES.orchestrator,
    args: [{ schema: SCHEMA, definition: { name, model: 's3://models/m' } }],
  });
  const describe = () => handle.query<StreamDescription>('describe');
  const steer: Steer = {
    calls,
    handle,
    describe,
    submit: (dataset, task) => handle.executeUpdate<Submission, [object]>('submitTask', { args: [{ dataset, task }] }),
    until: (task, status) =>
      retry(async () => {
        const line = (await describe()).tasks.find((t) => t.task === task);
        if (line?.status !== status)
          throw new Error(`${task} is ${line?.status}, not ${status}; calls: ${calls.join(', ')}`);
        return line;
      }),
  };
  try {
    await body(steer);
    await recordHistories(servers, async () => [
      streamWorkflowId(name),
      ...(await describe()).tasks.map(({ task }) => taskWorkflowId(name, task)),
    ]);
  } finally {
    await handle.terminate('test ends').catch(() => {});
    for (const worker of workers) worker.shutdown();
    await running;
    await connection.close();
  }
}

interface Steer {
  calls: string[];
  handle: Awaited<ReturnType<TestServers['client']['workflow']['start']>>;
  describe: () => Promise<StreamDescription>;
  submit: (dataset: string, task?: string) => Promise<Submission>;
  until: (task: string, status: string) => Promise<{ message?: string; generation?: number }>;
}

const good = (bank: string | null) => (bank === null ? 10 : 80);

describe('a stream', () => {
  it('learns tasks one after another, regularizes from the second on, and publishes each', async () => {
    await withStream('plain', {}, { score: good }, async ({ submit, until, calls, describe }) => {
      expect(await submit('s3://d/a')).toMatchObject({
        task: 'a',
        status: 'queued',
        duplicate: false,
        workflowId: 'lilora/plain/a',
      });
      await submit('s3://d/b');
      await until('b', 'published');
      expect(calls).toEqual([
        'fetch a',
        'train a',
        'publish a trained',
        'fetch b',
        'train b',
        'regularize 0',
        'publish b regularized-0',
      ]);
      expect((await describe()).matrix).toEqual({ tasks: ['a', 'b'], zeroShot: [10, 10], rows: [[80], [80, 80]] });
    });
  });

  it('answers the same dataset with the first submission, and refuses another dataset under a taken name', async () => {
    await withStream('twice', {}, { score: good }, async ({ submit, until, calls }) => {
      await submit('s3://d/a');
      await until('a', 'published');
      expect(await submit('s3://d/a')).toMatchObject({
        task: 'a',
        duplicate: true,
        status: 'published',
        generation: 1,
      });
      await expect(submit('s3://elsewhere/a')).rejects.toSatisfy(
        (error) =>
          error instanceof WorkflowUpdateFailedError && /already has a task "a"/.test(String(error.cause?.message)),
      );
      expect(calls.filter((call) => call.startsWith('train'))).toHaveLength(1);
    });
  });

  it('refuses bad data before training and goes on with the next dataset', async () => {
    const script = { score: good, bad: ['broken', 'manifest:s3://d/none'] };
    await withStream('bad', {}, script, async ({ submit, until, calls }) => {
      await expect(submit('s3://d/none')).rejects.toSatisfy((error) =>
        /not JSON/.test(JSON.stringify(error, Object.getOwnPropertyNames(error)) + String((error as Error).cause)),
      );
      await submit('s3://d/broken');
      await submit('s3://d/fine');
      expect((await until('broken', 'refused')).message).toBe('BadDataset: train.json, sample 7: no assistant turn.');
      await until('fine', 'published');
      expect(calls).not.toContain('train broken');
    });
  });

  it('pauses between and within tasks, and resumes', async () => {
    let release = () => {};
    const training = (attempt: number) =>
      attempt === 1 ? new Promise<void>((resolve) => (release = resolve)) : Promise.resolve();
    await withStream('pausing', {}, { score: good, training }, async ({ submit, until, calls, handle, describe }) => {
      await handle.signal('pause');
      await submit('s3://d/a');
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(calls).toEqual([]);
      await handle.signal('resume');
      await retry(async () => expect(calls).toContain('train a'));
      await handle.signal('pause');
      await retry(async () => {
        const task = await servers.client.workflow
          .getHandle(taskWorkflowId('pausing', 'a'))
          .query<{ phase: string }>('describe');
        expect(task.phase).toBe('paused');
      });
      release();
      await handle.signal('resume');
      await until('a', 'published');
      expect((await describe()).paused).toBe(false);
    });
  });

  it('cancels queued and running tasks; nothing is published', async () => {
    const training = () => new Promise<void>((resolve) => setTimeout(resolve, 1500));
    await withStream('cancelling', {}, { score: good, training }, async ({ submit, until, handle, calls }) => {
      await submit('s3://d/a');
      await submit('s3://d/b');
      await retry(async () => expect(calls).toContain('train a'));
      await handle.executeUpdate('cancelTask', { args: [{ task: 'b' }] });
      await handle.executeUpdate('cancelTask', { args: [{ task: 'a' }] });
      await until('a', 'cancelled');
      await until('b', 'cancelled');
      expect(calls.filter((call) => call.startsWith('publish'))).toEqual([]);
      expect(await submit('s3://d/a')).toMatchObject({ duplicate: false, status: 'queued' });
      await until('a', 'published');
    });
  });

  it('rolls back to an earlier generation when idle', async () => {
    await withStream('rolling', {}, { score: good }, async ({ submit, until, handle, calls, describe }) => {
      await submit('s3://d/a');
      await submit('s3://d/b');
      await until('b', 'published');
      await handle.executeUpdate('rollback', { args: [{ generation: 1 }] });
      expect(calls.at(-1)).toBe('rollback 1');
      expect((await describe()).head?.generation).toBe(1);
      expect((await describe()).tasks.find(({ task }) => task === 'b')).toMatchObject({ status: 'rejected' });
    });
  });
});

describe('evaluation', () => {
  const sharded = { evaluation: { maxNewTokens: 1, batchSize: 10, shardSamples: 20 } };

  it('cuts large test splits into shards, the longest first, and takes small ones whole', async () => {
    const samples = (task: string) => ({ large: 60, larger: 75, small: 15 })[task]!;
    await withStream('sharded', sharded, { score: good, samples }, async ({ submit, until, calls }) => {
      for (const task of ['small', 'large', 'larger']) await submit(`s3://d/${task}`);
      await until('larger', 'published');
      const evaluated = calls.slice(calls.lastIndexOf('regularize 0') + 1, -1);
      expect(evaluated.filter((call) => call.startsWith('evaluate'))).toEqual(['evaluate small']);
      expect(evaluated.filter((call) => call.startsWith('answer')).toSorted()).toEqual([
        'answer large 0-2',
        'answer large 2-4',
        'answer large 4-6',
        'answer larger 0-2',
        'answer larger 2-4',
        'answer larger 4-6',
        'answer larger 6-8',
      ]);
      expect(evaluated.filter((call) => call.startsWith('merge')).toSorted()).toEqual([
        'merge large-0-2 large-2-4 large-4-6',
        'merge larger-0-2 larger-2-4 larger-4-6 larger-6-8',
      ]);
      const { events } = await servers.client.workflow.getHandle(taskWorkflowId('sharded', 'larger')).fetchHistory();
      const scheduled = events!.flatMap(({ activityTaskScheduledEventAttributes: at }) =>
        /^(answer|evaluate)/.test(at?.activityType?.name ?? '') ? [at!.activityType!.name!] : [],
      );
      expect(scheduled.slice(-8)).toEqual([...Array<string>(4 + 3).fill('answerShard'), 'evaluateTask']);
    });
  });

  it('asks no GPU for what is known', async () => {
    const script = { score: good, samples: () => 60, known: () => true };
    await withStream('known', sharded, script, async ({ submit, until, calls }) => {
      await submit('s3://d/a');
      await until('a', 'published');
      expect(calls).toEqual(['fetch a', 'train a', 'publish a trained']);
    });
  });

  it('runs on a GPU class of its own', async () => {
    const queues = { gpuQueue: 'large-gpus', evaluationQueue: 'small-gpus' };
    await withStream('classes', queues, { score: good }, async ({ submit, until }) => {
      await submit('s3://d/a');
      await submit('s3://d/b');
      await until('b', 'published');
      const { events } = await servers.client.workflow.getHandle(taskWorkflowId('classes', 'b')).fetchHistory();
      const where = events!.flatMap(({ activityTaskScheduledEventAttributes: at }) =>
        at ? [`${at.activityType!.name} on ${at.taskQueue!.name}`] : [],
      );
      expect(new Set(where)).toEqual(
        new Set([
          `fetchDataset on ${QUEUES.data}`,
          'evaluateTask on small-gpus',
          'trainTask on large-gpus',
          'regularizeShared on large-gpus',
          `publishGeneration on ${QUEUES.data}`,
        ]),
      );
    });
  });
});

describe('the gate in the workflow', () => {
  /** Forgets 20 points of `a` on any bank but those named. */
  const forgets =
    (...harmless: string[]): Script['score'] =>
    (bank, task) =>
      bank === null ? 10 : task === 'a' && bank !== 'trained' && !harmless.includes(bank) ? 60 : 80;
  const two = async ({ submit, until }: Steer, end: string) => {
    await submit('s3://d/a');
    await until('a', 'published');
    await submit('s3://d/b');
    return until('b', end);
  };

  it('consolidates more strongly until the budget holds', async () => {
    await withStream('stronger', {}, { score: forgets('regularized-1') }, async (steer) => {
      await two(steer, 'published');
      expect(steer.calls.slice(3)).toEqual([
        'fetch b',
        'train b',
        'regularize 0',
        'regularize 0.5',
        'regularize 1',
        'publish b regularized-1',
      ]);
    });
  });

  it('falls back to the safe mode', async () => {
    await withStream('safety', {}, { score: forgets('safe') }, async (steer) => {
      await two(steer, 'published');
      expect(steer.calls.slice(-3)).toEqual(['regularize 1', 'train b safe', 'publish b safe']);
    });
  });

  it('rejects with a reason and leaves the head where it was', async () => {
    await withStream('rejecting', { gate: { whenOver: 'reject' } }, { score: forgets() }, async (steer) => {
      const line = await two(steer, 'rejected');
      expect(line.message).toBe('Task a would fall from 80.0 to 60.0; the forgetting budget is 5 points.');
      expect((await steer.describe()).head?.generation).toBe(1);
    });
  });

  it('asks a person, who may approve or reject', async () => {
    await withStream(
      'asking',
      { gate: { whenOver: 'ask', consolidations: [] } },
      { score: forgets() },
      async (steer) => {
        await steer.submit('s3://d/a');
        await steer.until('a', 'published');
        for (const decision of ['reject', 'approve']) {
          await steer.submit('s3://d/b');
          const child = servers.client.workflow.getHandle(taskWorkflowId('asking', 'b'));
          await retry(async () =>
            expect((await child.query<{ phase: string }>('describe')).phase).toBe('waiting-for-person'),
          );
          await steer.handle.executeUpdate<void, [object]>('decideGate', {
            args: [{ task: 'b', decision, reason: 'because' }],
          });
          const line = await steer.until('b', decision === 'approve' ? 'published' : 'rejected');
          if (decision === 'reject') expect(line.message).toBe('because');
        }
      },
    );
  });
});
