import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CreateBucketCommand, HeadBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { Connection } from '@temporalio/client';
import { LiloraError } from '../../core/errors.ts';
import { type Choices, choices } from '../../infra/setup/choose.mjs';
import { temporalSettings } from '../../workers/config.ts';
import { birthOf, findRunning, homeFolder, ROOT, type Running, runningFile } from '../place.ts';
import { Child } from './child.ts';
import { localCredentials } from './credentials.ts';
import { startListener } from './listener.ts';
import { freePort } from './ports.ts';
import { commandOf, GpuFromZero, leaveZero } from './serverless.ts';

/** Where servers listen when nothing else does. */
const PORTS = { temporal: 7233, ui: 8233, s3: 7070 };
const BUCKET = 'lilora';
/** Settings of a local Temporal server, as flags. */
export const SERVER_FLAGS = [
  // The open poll of a worker that leaves is ended by the server, so that no task is given to one that has gone. With
  // more than one partition a poll may be ended while another partition answers it, and that task is lost to a timeout.
  'frontend.enableCancelWorkerPollsOnShutdown=true',
  'matching.numTaskqueueReadPartitions=1',
  'matching.numTaskqueueWritePartitions=1',
  // Our own server has it on; the `temporal` command must be told.
  'matching.enableFairness=true',
].flatMap((setting) => ['--dynamic-config-value', setting]);

export interface DeploymentOptions {
  /** Data of the servers, kept between runs. */
  readonly folder: string;
  /** Told what happens, in one line each. */
  readonly report: (line: string) => void;
  /** How many gpu workers; each has an engine process of its own. One when absent. */
  readonly gpuWorkers?: number;
  /** A file of rules: datasets that land in the local S3 server are submitted by themselves. */
  readonly listen?: string;
  /** No gpu worker runs until a task waits for one: Temporal's worker controller starts it. */
  readonly serverless?: boolean;
}

/** Everything on this machine: Temporal, an object store, one orchestrator and the gpu workers, or a way to start them. */
export interface Deployment {
  /** Variables with which the other verbs find it. */
  readonly env: Readonly<Record<string, string>>;
  readonly temporal: string;
  /** Address of the Temporal UI; null when somebody else's server is used. */
  readonly ui: string | null;
  readonly store: string;
  /** Where the S3 server sends its events; null without `listen`. */
  readonly listener: string | null;
  readonly logs: string;
  /** How many gpu workers run now. */
  gpuWorkers(): number;
  stop(): Promise<void>;
}

/** Starts all of it and waits until it is ready. Fails, with everything ended again, when a part does not come up. */
export async function startDeployment(options: DeploymentOptions): Promise<Deployment> {
  const { folder, report, gpuWorkers = 1, listen, serverless } = options;
  const home = homeFolder();
  const running = findRunning(home);
  if (running)
    throw new LiloraError(
      'Conflict',
      `Process ${running.pid} runs \`lilora dev\` or \`lilora demo\` already${running.ui ? ` (${running.ui})` : ''}. Use it, or end it with Ctrl-C.`,
    );
  const logs = join(folder, 'logs');
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  const chosen = choices();
  if (serverless && chosen.temporal.kind !== 'cached')
    throw new LiloraError(
      'BadConfig',
      "Starting gpu workers from zero on this machine needs the project's own Temporal server. Run `npm run setup -- --only temporal`, and leave TEMPORAL_ADDRESS unset.",
    );
  const servers: Child[] = [];
  const workers: Child[] = [];
  const ends: Array<() => Promise<void>> = [];
  const keeper =
    (among: Child[]): Keep =>
    (name, command, args, env) => {
      const logFile = join(logs, `${name.replaceAll(' ', '-')}.log`);
      const child = new Child({ name, command, args, env, report, logFile });
      among.push(child);
      return child;
    };
  let gpu: GpuFromZero | undefined;
  const stop = async () => {
    if (findRunning(home)?.pid === process.pid) rmSync(runningFile(home), { force: true });
    // Workers first: they hand their work back while the servers still listen.
    await Promise.all([gpu?.stop(), ...workers.map((child) => child.stop())]);
    await Promise.all([...servers.map((child) => child.stop()), ...ends.map((end) => end())]);
  };
  try {
    // The one program that the server may start; without it, none.
    const mayStart = serverless ? ['--compute-command', commandOf(folder)] : [];
    const temporal = await startTemporal(chosen, folder, mayStart, keeper(servers), (end) => ends.push(end));
    const listener = listen ? await startListener(chosen, listen, temporal.env, keeper(servers)) : null;
    const store = await startStore(chosen, folder, home, keeper(servers), listener);
    const env = { ...temporal.env, ...store.env, LILORA_STORE: store.store };
    const found: Running = { pid: process.pid, birth: birthOf(process.pid), folder, ui: temporal.ui, env };
    writeFileSync(runningFile(home), JSON.stringify(found), { mode: 0o600 });
    if (serverless) gpu = new GpuFromZero({ folder, logFile: join(logs, 'gpu-worker.log'), report });
    const workerEnv = { ...process.env, ...env };
    const settings = temporalSettings(workerEnv);
    const names = Array.from({ length: serverless ? 0 : gpuWorkers }, (_, i) =>
      gpuWorkers === 1 ? 'gpu worker' : `gpu worker ${i + 1}`,
    );
    await Promise.all([
      startWorker('orchestrator', 'orchestrator', workerEnv, keeper(workers)),
      ...names.map((name) => startWorker(name, 'gpu', workerEnv, keeper(workers))),
      gpu ? gpu.open(settings) : chosen.temporal.kind === 'cached' && leaveZero(settings),
    ]);
    const living = () => gpu?.count ?? gpuWorkers;
    const { address, ui } = temporal;
    return { env, temporal: address, ui, store: store.store, listener, logs, gpuWorkers: living, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startWorker(name: string, role: 'orchestrator' | 'gpu', env: NodeJS.ProcessEnv, keep: Keep) {
  const worker = keep(name, process.execPath, [join(ROOT, 'cli/lilora.mjs'), 'worker', role], env);
  await worker.logged(role === 'gpu' ? 'gpu worker ready' : 'orchestrator ready', 60);
}

/** Starts a child process that is kept alive. */
export type Keep = (name: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv) => Child;

async function startStore({ s3 }: Choices, folder: string, home: string, keep: Keep, listener: string | null) {
  const named = process.env['LILORA_STORE'];
  if (named) return { store: named, env: {} };
  if (s3.kind === 'folder') {
    const store = join(folder, 'objects');
    mkdirSync(store, { recursive: true, mode: 0o700 });
    return { store, env: {} };
  }
  let env: Record<string, string> = {};
  if (s3.kind === 'versitygw') {
    const { access, secret } = localCredentials(home);
    const port = await freePort(PORTS.s3);
    const [data, versions] = [join(folder, 's3'), join(folder, 's3-versions')];
    for (const path of [data, versions]) mkdirSync(path, { recursive: true, mode: 0o700 });
    // The keys go by environment: arguments are visible to every user of the machine.
    const keys = {
      ...process.env,
      ROOT_ACCESS_KEY: access,
      ROOT_SECRET_KEY: secret,
      VGW_EVENT_WEBHOOK_URL: listener ?? undefined,
    };
    keep(
      's3',
      s3.path,
      ['--port', `127.0.0.1:${port}`, '--quiet', '--keep-alive', 'posix', '--versioning-dir', versions, data],
      keys,
    );
    env = {
      AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}`,
      AWS_ACCESS_KEY_ID: access,
      AWS_SECRET_ACCESS_KEY: secret,
      AWS_REGION: 'us-east-1',
    };
  }
  Object.assign(process.env, env);
  const client = new S3Client({ forcePathStyle: true, maxAttempts: 1 });
  try {
    await untilReady('The S3 server', async () => {
      await client
        .send(new HeadBucketCommand({ Bucket: BUCKET }))
        .catch(async (error: { $metadata?: { httpStatusCode?: number } }) => {
          if (error.$metadata?.httpStatusCode !== 404) throw error;
          await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
        });
    });
  } finally {
    client.destroy();
  }
  return { store: `s3://${BUCKET}`, env };
}

async function startTemporal(
  { temporal }: Choices,
  folder: string,
  mayStart: readonly string[],
  keep: Keep,
  onStop: (end: () => Promise<void>) => void,
) {
  if (temporal.kind === 'address') return { address: temporal.address, ui: null, env: {} as Record<string, string> };
  if (temporal.kind === 'missing')
    throw new LiloraError(
      'BadConfig',
      'There is no Temporal server on this machine. Run `npm run setup`, or set TEMPORAL_ADDRESS.',
    );
  const [port, uiPort] = [await freePort(PORTS.temporal), await freePort(PORTS.ui)];
  const address = `127.0.0.1:${port}`;
  const database = join(folder, 'temporal.db');
  if (temporal.kind === 'cached' || temporal.kind === 'cli') {
    const flags = ['--ip', '127.0.0.1', '--port', String(port), '--ui-port', String(uiPort), '--db-filename', database];
    keep(
      'temporal',
      temporal.path,
      ['server', 'start-dev', ...flags, ...mayStart, '--log-level', 'error', ...SERVER_FLAGS],
      process.env,
    );
  } else {
    // The SDK downloads the `temporal` command at its first use.
    const { TestWorkflowEnvironment } = await import('@temporalio/testing');
    const server = { ip: '127.0.0.1', port, ui: true, uiPort, dbFilename: database, extraArgs: SERVER_FLAGS };
    const environment = await TestWorkflowEnvironment.createLocal({ server });
    onStop(() => environment.teardown());
  }
  await untilReady('Temporal', async () => {
    const connection = await Connection.connect({ address, connectTimeout: '2s' });
    try {
      await connection.workflowService.describeNamespace({ namespace: 'default' });
    } finally {
      await connection.close();
    }
  });
  return {
    address,
    ui: `http://127.0.0.1:${uiPort}`,
    env: { TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: 'default' } as Record<string, string>,
  };
}

async function untilReady(what: string, attempt: () => Promise<void>, seconds = 30): Promise<void> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > end)
        throw new LiloraError(
          'StoreUnavailable',
          `${what} did not come up within ${seconds} s: ${(error as Error).message}`,
          {
            cause: error,
          },
        );
      await new Promise((wake) => setTimeout(wake, 200));
    }
  }
}
