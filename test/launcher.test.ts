import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ROOT } from '../workers/runtime.ts';
import { launcherWorkflowId, QUEUES, SCHEMA, streamWorkflowId } from '../workflows/contract.ts';
import { recordHistories } from './record.ts';
import { retry, TestServers } from './servers.ts';
import { writeSmallDataset } from './small-dataset.ts';

/**
 * A GPU worker from zero on a platform that runs one function per request: Temporal, S3 and the orchestrator are real,
 * the platform is a local server that speaks RunPod's way and runs real workers.
 */
let servers: TestServers;
let platform: Server;
const API_KEY = 'api-key-of-this-test';
const requests: { key: string; status: number }[] = [];
const workers: { started: number; ended: number | null; code: number | null }[] = [];
const running = new Set<ChildProcess>();

/** Takes an order once per key, as a platform with idempotency does; the first request fails after it was understood. */
function startPlatform(): Server {
  return createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      const answer = (status: number, value: object) => {
        requests.push({ key: JSON.parse(body).input?.key, status });
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
      };
      const { input } = JSON.parse(body);
      if (request.headers.authorization !== `Bearer ${API_KEY}`) return answer(401, { error: 'unauthorized' });
      if (request.method !== 'POST' || request.url !== '/v2/gpu/run') return answer(404, { error: 'no endpoint' });
      if (requests.length === 0) return answer(503, { error: 'no capacity' });
      if (requests.some(({ key, status }) => key === input.key && status === 200))
        return answer(200, { id: input.key });
      const worker = { started: Date.now(), ended: null as number | null, code: null as number | null };
      workers.push(worker);
      const args = ['worker', 'gpu', '--queue', input.queue, '--idle-exit', String(input.idleExitSeconds)];
      const child = spawn(process.execPath, [join(ROOT, 'cli/lilora.mjs'), ...args], {
        env: servers.env,
        stdio: 'ignore',
      });
      running.add(child);
      child.once('exit', (code) => {
        running.delete(child);
        Object.assign(worker, { ended: Date.now(), code });
      });
      answer(200, { id: input.key });
    });
  });
}

beforeAll(async () => {
  servers = await TestServers.start();
  platform = startPlatform();
  await new Promise<void>((up) => platform.listen(0, '127.0.0.1', up));
  const { port } = platform.address() as { port: number };
  const launchers = [
    { platform: 'runpod', endpoint: `http://127.0.0.1:${port}/v2/gpu`, idleExitSeconds: 3, pollSeconds: 0.5 },
  ];
  Object.assign(servers.env, { LILORA_LAUNCHERS: JSON.stringify(launchers), RUNPOD_API_KEY: API_KEY });
  await servers.worker('orchestrator');
});
afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  platform.close();
  await servers.stop();
});

const learn = async (task: string, seed: number) => {
  const folder = join(servers.folder, 'datasets', task);
  await writeSmallDataset(folder, { name: task, train: 16, test: 4, seed });
  const { code, stderr } = await servers.run('submit', 'remote', folder, '--wait');
  expect(code, stderr).toBe(0);
};
const allEnded = () =>
  retry(async () => {
    if (workers.some(({ ended }) => ended === null)) throw new Error('a worker still runs');
  }, 30);

it('starts one worker when a task waits, lets it end when idle, and starts another for the next task', async () => {
  const model = join(ROOT, 'test/fixtures/llava-mha/model');
  const options = join(servers.folder, 'options.json');
  writeFileSync(
    options,
    JSON.stringify({
      options: { rank: 2, alpha: 4 },
      training: { batchSize: 4, epochs: 1, learningRate: 1e-3 },
      evaluation: { maxNewTokens: 2, batchSize: 4 },
      gate: { minimumGain: -100, forgettingBudget: 100 },
    }),
  );
  const created = await servers.run('create', 'remote', '--model', model, '--options', options);
  expect(created.code, created.stderr).toBe(0);
  expect(workers).toEqual([]);

  await learn('first', 1);
  await allEnded();
  expect(workers).toHaveLength(1);
  expect(workers[0]!.code).toBe(0);
  // The refused first request and its retry carried the same key.
  expect(requests.map(({ status }) => status)).toEqual([503, 200]);
  expect(new Set(requests.map(({ key }) => key)).size).toBe(1);

  await learn('second', 2);
  await allEnded();
  expect(workers).toHaveLength(2);
  expect(new Set(requests.map(({ key }) => key)).size).toBe(2);

  const described = await servers.client.workflow.getHandle(launcherWorkflowId(QUEUES.gpu)).describe();
  expect(described.status.name).toBe('RUNNING');
  await recordHistories(servers, async () => [launcherWorkflowId(QUEUES.gpu)]);
  const history = await servers.client.workflow.getHandle(launcherWorkflowId(QUEUES.gpu)).fetchHistory();
  expect(JSON.stringify(history)).not.toContain(API_KEY);
  expect(Buffer.from(JSON.stringify(history)).includes(Buffer.from(API_KEY).toString('base64'))).toBe(false);
  expect((await servers.client.workflow.getHandle(streamWorkflowId('remote')).describe()).status.name).toBe('RUNNING');
});

it('ends the launcher of a queue that nobody is configured to serve', async () => {
  const handle = await servers.client.workflow.start('launcher', {
    workflowId: launcherWorkflowId('nobody'),
    taskQueue: QUEUES.orchestrator,
    args: [{ schema: SCHEMA, queue: 'nobody' }],
  });
  await handle.result();
});
