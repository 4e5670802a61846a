import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULTS } from '../../core/defaults.ts';
import { connectClient } from '../../workers/config.ts';
import { codeVersion } from '../../workers/runtime.ts';
import { registerServerless, unregisterServerless } from '../../workers/serverless.ts';
import { QUEUES } from '../../workflows/contract.ts';
import { birthOf, homeFolder, ROOT } from '../place.ts';

export interface GpuFromZeroOptions {
  /** Folder of the deployment's data. */
  readonly folder: string;
  readonly logFile: string;
  /** Told how many gpu workers run, whenever that changes. */
  readonly report: (line: string) => void;
}

/** The program that Temporal's worker controller runs, in the folder of a deployment's data. */
export const commandOf = (folder: string): string => join(folder, 'gpu-worker.sh');

/** Time for a polite end of a gpu worker, in milliseconds. */
const GRACE = 15_000;
/** A worker that lives longer is ended, as a platform would do; its work goes on in another one. */
const LIFE = '24h';
/** After one start no other follows so soon, in milliseconds; shorter than any worker lives, so that no task is overlooked. */
const COOL_OFF = 2000;
/** Between two looks at the processes, in milliseconds. */
const LOOK = 300;

/**
 * The gpu workers of a local deployment that starts from zero. Temporal's worker controller starts them on this machine
 * by its provider `subprocess`: a file that a person can read and run. It holds no secret and gets none as argument: a
 * worker finds its servers by the running-file of `lilora dev`.
 */
export class GpuFromZero {
  private readonly folder: string;
  private readonly command: string;
  private readonly report: (line: string) => void;
  private readonly buildId = codeVersion();
  private timer: NodeJS.Timeout | undefined;
  private known = 0;

  constructor({ folder, logFile, report }: GpuFromZeroOptions) {
    this.folder = join(folder, 'gpu-workers');
    this.command = commandOf(folder);
    this.report = report;
    rmSync(this.folder, { recursive: true, force: true });
    mkdirSync(this.folder);
    writeFileSync(this.command, script(this.folder, logFile, this.buildId), { mode: 0o700 });
  }

  /** Tells the controller of the server that `temporal` leads to; its next gpu task starts a worker. */
  async open(temporal: Parameters<typeof connectClient>[0]): Promise<void> {
    const client = await connectClient(temporal);
    try {
      const deploymentVersion = { deploymentName: QUEUES.gpu, buildId: this.buildId };
      await registerServerless(client, {
        queue: QUEUES.gpu,
        deployment: QUEUES.gpu,
        buildId: this.buildId,
        compute: {
          provider: 'subprocess',
          details: { command: this.command, timeout: LIFE },
          scaler: { type: 'no-sync', details: { scale_up_cooloff_ms: COOL_OFF } },
        },
      });
      // Every version of the code that ran here has a controller of its own, and a server takes a hundred.
      await unregisterServerless(client, QUEUES.gpu, this.buildId);
      // The controller hears of new tasks only. One that waited when the servers ended is for us to see.
      const { versionTaskQueues } = await client.connection.workflowService.describeWorkerDeploymentVersion({
        namespace: client.options.namespace,
        deploymentVersion,
        reportTaskQueueStats: true,
      });
      if (this.count === 0 && versionTaskQueues?.some(({ stats }) => Number(stats?.approximateBacklogCount) > 0))
        spawn(this.command, { stdio: 'ignore', detached: true }).unref();
    } finally {
      await client.connection.close();
    }
    this.timer = setInterval(() => this.look(), LOOK);
  }

  /** Births of the gpu workers that run, by process id. */
  private alive(): Map<number, string> {
    const names = readdirSync(this.folder, { withFileTypes: true }).map(({ name }) => name);
    const births = names.map((name): [number, string] => [
      Number(name),
      readFileSync(join(this.folder, name), 'utf8').trim(),
    ]);
    return new Map(births.filter(([pid, birth]) => birthOf(pid) === birth));
  }

  /** How many gpu workers run now, those included that are still loading. */
  get count(): number {
    return this.alive().size;
  }

  private look(): void {
    const { count } = this;
    if (count === this.known) return;
    this.known = count;
    this.report(`gpu workers: ${count}`);
  }

  /** Ends the workers, politely at first, and lets no other start. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    const workers = this.alive();
    rmSync(this.folder, { recursive: true, force: true });
    const signal = (name: NodeJS.Signals) => {
      for (const [pid, birth] of workers) if (birthOf(pid) === birth) process.kill(pid, name);
    };
    signal('SIGTERM');
    const end = Date.now() + GRACE;
    while ([...workers].some(([pid, birth]) => birthOf(pid) === birth)) {
      if (Date.now() > end) signal('SIGKILL');
      await new Promise((wake) => setTimeout(wake, 100));
    }
  }
}

/** Gives the gpu queue of a server to ordinary workers, should it have started some from zero before. */
export async function leaveZero(temporal: Parameters<typeof connectClient>[0]): Promise<void> {
  const client = await connectClient(temporal);
  try {
    await unregisterServerless(client, QUEUES.gpu);
  } finally {
    await client.connection.close();
  }
}

/** What the controller runs. Its name in the folder of workers says that a worker lives; without the folder none starts. */
function script(folder: string, logFile: string, buildId: string): string {
  const command = [process.execPath, join(ROOT, 'cli/lilora.mjs'), 'worker', 'gpu', '--queue', QUEUES.gpu];
  const versioned = ['--deployment', QUEUES.gpu, '--build-id', buildId];
  const seconds = (name: 'worker.idleExitSeconds' | 'worker.firstTaskSeconds') => String(DEFAULTS[name].value);
  const idle = ['--idle-exit', seconds('worker.idleExitSeconds'), '--first-task', seconds('worker.firstTaskSeconds')];
  return `#!/bin/sh
# Temporal's worker controller runs this file when a task waits on ${QUEUES.gpu}.
cut -d' ' -f22 "/proc/$$/stat" >${quoted(folder)}/$$ || exit 0
unset TEMPORAL_ADDRESS TEMPORAL_PROFILE LILORA_STORE
export LILORA_HOME=${quoted(homeFolder())}
exec ${[...command, ...versioned, ...idle].map(quoted).join(' ')} >>${quoted(logFile)} 2>&1
`;
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
