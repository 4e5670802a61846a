import { join } from 'node:path';
import { reachableDataset, reachableModel } from '../../cli/upload.ts';
import { total } from '../../core/cost.ts';
import { makeDatasets } from '../../examples/make-datasets.ts';
import { retry, TestServers } from '../../test/servers.ts';
import { ROOT } from '../../workers/runtime.ts';
import { QUEUES, SCHEMA, type StreamDescription, streamWorkflowId, UPDATES } from '../../workflows/contract.ts';
import type { Times } from './simulate.ts';

const STARTS = 5;
const TASKS = ['digit', 'class', 'open'];
const STORE = 's3://lilora-test/product';

/**
 * Measures on real parts what the simulator draws from, in seconds: starts and stops of gpu worker processes, and, from
 * what tasks of the demo tell of their usage, useful work, loading (the first task of a worker) and transfers (the others).
 */
export async function measureTimes(): Promise<Times & { run: number[]; command: string }> {
  const servers = await TestServers.start();
  try {
    const made = await makeDatasets(join(servers.folder, 'datasets'), { names: TASKS });
    const { model } = await reachableModel(join(ROOT, 'examples/base-model'), STORE);
    const datasets: string[] = [];
    for (const task of TASKS) datasets.push(await reachableDataset(made[task]!, STORE));
    await servers.worker('orchestrator');
    const [start, stop]: [number[], number[]] = [[], []];
    for (let i = 0; i < STARTS; i++) {
      let began = performance.now();
      const worker = await servers.worker('gpu');
      start.push(since(began));
      const gone = new Promise((ended) => worker.once('exit', ended));
      began = performance.now();
      worker.kill('SIGTERM');
      await gone;
      stop.push(since(began));
    }
    await servers.worker('gpu');
    const used = await learn(servers, model, datasets);
    const idle = used.map(({ seconds, useful }) => Math.round(1000 * (seconds - useful)) / 1000);
    return {
      command: 'npm run bench:fleet -- --measure',
      start,
      load: [idle[0]!],
      transfer: idle.slice(1),
      stop,
      run: used.map(({ useful }) => useful),
    };
  } finally {
    await servers.stop();
  }
}

/** Learns the tasks one after another and gives the GPU-seconds that each told. */
async function learn(
  servers: TestServers,
  model: string,
  datasets: readonly string[],
): Promise<Array<{ seconds: number; useful: number }>> {
  const stream = await servers.client.workflow.start('stream', {
    workflowId: streamWorkflowId('fleet'),
    taskQueue: QUEUES.orchestrator,
    args: [{ schema: SCHEMA, definition: { name: 'fleet', model } }],
  });
  for (const dataset of datasets) await stream.executeUpdate(UPDATES.submitTask, { args: [{ dataset }] });
  const { tasks } = await retry(async () => {
    const now = await stream.query<StreamDescription>('describe');
    if (!now.tasks.every(({ status }) => status === 'published')) throw new Error(JSON.stringify(now.tasks));
    return now;
  }, 500);
  return tasks.map(({ usage }) => ({
    seconds: total(usage!, 'seconds', true),
    useful: total(usage!, 'usefulSeconds', true),
  }));
}

const since = (began: number) => Math.round(performance.now() - began) / 1000;
