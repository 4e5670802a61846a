import { fileURLToPath } from 'node:url';
import { WorkflowUpdateFailedError } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DataActivities } from '../activities/data.ts';
import { namedFailures } from '../activities/failures.ts';
import type { GpuActivities } from '../activities/gpu.ts';
import { LiloraError } from '../core/errors.ts';
import { connectWorker, ensureSearchAttributes, loadSettings } from '../workers/config.ts';
import type { FileRef, ResolvedStream, StreamDescription, StreamState, Submission } from '../workflows/contract.ts';
import { QUEUES, SCHEMA, streamWorkflowId, taskWorkflowId } from '../workflows/contract.ts';
import { recordHistories } from './record.ts';
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

const file = (name: string): FileRef => ({ key: name, size: 1, sha256: name });

interface Script {
  /** Score of a task on a bank; banks are named trained, regularized-<strength>, safe. */
  score: (bank: string | null, task: string) => number;
  bad?: string[];
  consolidates?: boolean;
  hasSafeMode?: boolean;
  /** Called when training starts; training ends when it resolves. */
  training?: (attempt: number) => Promise<void>;
}

/** Runs one stream with scripted activities; `body` steers it. */
async function withStream(
  name: string,
  gate: Partial<ResolvedStream['gate']>,
  script: Script,
  body: (s: Steer) => Promise<void>,
) {
  const calls: string[] = [];
  let published: StreamState | null = null;
  let trainings = 0;
  const definition = (): ResolvedStream => ({
    schema: SCHEMA,
    name,
    model: { uri: 's3://models/m', digest: 'm' },
    method: { name: 'lilora', options: {} },
    targets: 'paper',
    training: {
      learningRate: 1,
      batchSize: 1,
      microBatchSize: 1,
      epochs: 1,
      warmupRatio: 0,
      weightDecay: 0,
      clipNorm: 0,
      dropout: 0,
    },
    evaluation: { maxNewTokens: 1, batchSize: 1 },
    gate: { forgettingBudget: 5, minimumGain: 0, consolidations: [0.5, 1], whenOver: 'safe', ...gate },
    limits: { trainHours: 1, heartbeatSeconds: 60, checkpointSeconds: 60 },
    seed: 0,
    gpuQueue: `${QUEUES.gpu}-${name}`,
  });
  const empty = (): StreamState => ({
    definition: definition(),
    abilities: { consolidates: script.consolidates ?? true, hasSafeMode: script.hasSafeMode ?? true },
    head: null,
    bank: null,
    learned: [],
    matrix: { tasks: [], zeroShot: [], rows: [] },
    nextGeneration: 1,
  });
  const data: DataActivities = {
    openStream: async () => published ?? empty(),
    inspectDataset: async ({ dataset }) => {
      if (script.bad?.includes(`manifest:${dataset}`))
        throw new LiloraError('BadDataset', `${dataset}/dataset.json is not JSON.`);
      return { name: dataset.split('/').at(-1)!, digest: `digest-of-${dataset}`, uri: dataset };
    },
    fetchDataset: async ({ task }) => {
      calls.push(`fetch ${task}`);
      if (script.bad?.includes(task)) throw new LiloraError('BadDataset', `train.json, sample 7: no assistant turn.`);
      return { metric: 'exact', train: file(`${task}-train`), test: file(`${task}-test`), counts: {}, reused: false };
    },
    publishGeneration: async ({ state, task, dataset, test, bank, zeroShot, evaluations }) => {
      calls.push(`publish ${task} ${bank.key}`);
      const generation = state.nextGeneration;
      published = {
        ...state,
        head: { generation, manifestDigest: String(generation), epoch: (state.head?.epoch ?? 0) + 1 },
        bank,
        learned: [...state.learned, { task, dataset, metric: 'exact', test, generation }],
        matrix: {
          tasks: [...state.matrix.tasks, task],
          zeroShot: [...state.matrix.zeroShot, zeroShot.score],
          rows: [...state.matrix.rows, evaluations.map(({ score }) => score)],
        },
        nextGeneration: generation + 1,
      };
      return published;
    },
    rollbackStream: async ({ state, generation }) => {
      calls.push(`rollback ${generation}`);
      return {
        ...state,
        head: { generation, manifestDigest: '', epoch: state.head!.epoch + 1 },
        learned: state.learned.slice(0, generation),
      };
    },
  };
  const gpu: GpuActivities = {
    trainTask: async ({ safe, task }) => {
      calls.push(`train ${task}${safe ? ' safe' : ''}`);
      await script.training?.(++trainings);
      return {
        bank: file(safe ? 'safe' : 'trained'),
        metrics: file('m'),
        steps: 1,
        seconds: 1,
        engine: { backend: '', device: '', version: '' },
        reused: false,
      };
    },
    regularizeShared: async ({ strength }) => {
      calls.push(`regularize ${strength}`);
      return { bank: file(`regularized-${strength}`), drift: [], reused: false };
    },
    evaluateTask: async ({ bank, task }) => ({
      task,
      score: script.score(bank?.key ?? null, task),
      instructionFollowing: 100,
      count: 1,
      predictions: file('p'),
      reused: false,
    }),
  };
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
    Worker.create({ connection, taskQueue: `${QUEUES.gpu}-${name}`, activities: gpu, interceptors }),
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
    await withStream('rejecting', { whenOver: 'reject' }, { score: forgets() }, async (steer) => {
      const line = await two(steer, 'rejected');
      expect(line.message).toBe('Task a would fall from 80.0 to 60.0; the forgetting budget is 5 points.');
      expect((await steer.describe()).head?.generation).toBe(1);
    });
  });

  it('asks a person, who may approve or reject', async () => {
    await withStream('asking', { whenOver: 'ask', consolidations: [] }, { score: forgets() }, async (steer) => {
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
    });
  });
});
