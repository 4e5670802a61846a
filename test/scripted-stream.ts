import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { namedFailures } from '../activities/failures.ts';
import { connectWorker, ensureSearchAttributes, loadSettings } from '../workers/config.ts';
import {
  QUEUES,
  type ResolvedStream,
  SCHEMA,
  type StreamDescription,
  type Submission,
  streamWorkflowId,
  taskWorkflowId,
} from '../workflows/contract.ts';
import { recordHistories } from './record.ts';
import { type Script, scriptedActivities, scriptedDefinition } from './scripted-learning.ts';
import { retry, type TestServers } from './servers.ts';

/** Runs one stream with scripted activities; `body` steers it. */
export async function withScriptedStream(
  servers: TestServers,
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
      Worker.create({
        connection,
        taskQueue,
        activities: gpu,
        interceptors,
        maxHeartbeatThrottleInterval: '1s', // cancellations come with heartbeats
      }),
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

/** What a test does with its stream. */
export interface Steer {
  calls: string[];
  handle: Awaited<ReturnType<TestServers['client']['workflow']['start']>>;
  describe: () => Promise<StreamDescription>;
  submit: (dataset: string, task?: string) => Promise<Submission>;
  until: (task: string, status: string) => Promise<{ message?: string; generation?: number }>;
}
