import { fileURLToPath } from 'node:url';
import type { WorkflowHandle } from '@temporalio/client';
import { type NativeConnection, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectWorker, ensureSearchAttributes, loadSettings } from '../workers/config.ts';
import { QUEUES, type ResolvedStream, SCHEMA, taskWorkflowId } from '../workflows/contract.ts';
import type { FairnessSettings } from '../workflows/definition-contract.ts';
import { emptyState, file, type Script, scriptedActivities, scriptedDefinition } from './scripted-learning.ts';
import { retry, TestServers } from './servers.ts';

/**
 * Who gets a gpu worker that several streams wait for, on a real Temporal server: their evaluations are queued first,
 * then one worker takes them up one by one.
 */
let servers: TestServers;
let connection: NativeConnection;
let workers: Worker[];
let running: Promise<unknown>;

// What the base model scores is known; the new task is evaluated in two shards, and every earlier one beside it.
const script: Script = { score: () => 80, samples: () => 2, known: (bank) => bank === null };
const { data, gpu } = scriptedActivities(scriptedDefinition('any'), script);
const TRAINING = 'training';

beforeAll(async () => {
  servers = await TestServers.start({ s3: false });
  connection = await connectWorker(loadSettings(servers.env));
  await ensureSearchAttributes(connection, 'default');
  const workflowsPath = fileURLToPath(new URL('../workflows/index.ts', import.meta.url));
  workers = await Promise.all([
    Worker.create({ connection, workflowsPath, taskQueue: QUEUES.orchestrator }),
    Worker.create({ connection, activities: data, taskQueue: QUEUES.data }),
    Worker.create({ connection, activities: gpu, taskQueue: TRAINING }),
  ]);
  running = Promise.all(workers.map((worker) => worker.run()));
});
afterAll(async () => {
  for (const worker of workers) worker.shutdown();
  await running;
  await connection.close();
  await servers.stop();
});

/** A stream with so many evaluations, at least two, at once. */
interface Waiting {
  readonly name: string;
  readonly evaluations: number;
  readonly fairness: FairnessSettings;
}

/** Queues the evaluations of one stream after another, then lets a worker loose: the streams in the order of its work. */
async function order(gpus: string, streams: readonly Waiting[]): Promise<string[]> {
  const served: string[] = [];
  const serving =
    <Input extends { definition: ResolvedStream }, Output>(run: (input: Input) => Promise<Output>) =>
    async (input: Input) => {
      served.push(input.definition.name);
      return run(input);
    };
  const evaluating = { evaluateTask: serving(gpu.evaluateTask), answerShard: serving(gpu.answerShard) };
  const handles: WorkflowHandle[] = [];
  let queued = 0;
  for (const { name, evaluations, fairness } of streams) {
    const definition = scriptedDefinition(name, {
      gpuQueue: TRAINING,
      evaluationQueue: gpus,
      evaluation: { maxNewTokens: 1, batchSize: 1, shardSamples: 1 },
      fairness,
    });
    const learned = Array.from({ length: evaluations - 2 }, (_, i) => ({
      task: `task-${i}`,
      dataset: { uri: 's3://d', digest: 'd' },
      metric: 'exact',
      test: file('t'),
      generation: 1,
    }));
    const state = { ...emptyState(definition), bank: file('bank'), learned };
    const input = { schema: SCHEMA, task: 'new', dataset: { uri: 's3://d', digest: 'd' }, state };
    handles.push(
      await servers.client.workflow.start('learnTask', {
        workflowId: taskWorkflowId(name, 'new'),
        taskQueue: QUEUES.orchestrator,
        args: [input],
      }),
    );
    queued += evaluations;
    await retry(async () => {
      const { raw } = await handles.at(-1)!.describe();
      expect(raw.pendingActivities).toHaveLength(evaluations);
    }, 60);
  }
  await retry(async () => expect(await backlog(gpus)).toBe(queued), 60);
  const worker = await Worker.create({
    connection,
    taskQueue: gpus,
    activities: evaluating,
    maxConcurrentActivityTaskExecutions: 1,
  });
  await worker.runUntil(Promise.all(handles.map((handle) => handle.result())));
  return served;
}

async function backlog(queue: string): Promise<number> {
  const { stats } = await servers.client.workflowService.describeTaskQueue({
    namespace: 'default',
    taskQueue: { name: queue },
    taskQueueType: 2, // activities
    reportStats: true,
  });
  return Number(stats?.approximateBacklogCount ?? 0);
}

it('serves a tenant with little to do before one with much is through', async () => {
  const many = { name: 'a-many', evaluations: 40 };
  const few = { name: 'b-few', evaluations: 2 };
  const fair = await order('fair', [
    { ...many, fairness: { key: 'a', weight: 1 } },
    { ...few, fairness: { key: 'b', weight: 1 } },
  ]);
  expect(fair).toHaveLength(42);
  expect(fair.lastIndexOf('b-few')).toBeLessThan(8);
});

it('keeps one line for streams of one tenant', async () => {
  const fairness = { key: 'acme', weight: 1 };
  const line = await order('one-line', [
    { name: 'c-many', evaluations: 40, fairness },
    { name: 'd-few', evaluations: 2, fairness },
  ]);
  expect(line.slice(-2)).toEqual(['d-few', 'd-few']);
});

it('serves tenants by their weights', async () => {
  const weighted = await order('weighted', [
    { name: 'e-light', evaluations: 20, fairness: { key: 'e', weight: 1 } },
    { name: 'f-heavy', evaluations: 20, fairness: { key: 'f', weight: 4 } },
  ]);
  const heavy = weighted.slice(0, 20).filter((name) => name === 'f-heavy').length;
  expect(heavy).toBeGreaterThanOrEqual(14);
  expect(heavy).toBeLessThan(20);
});
