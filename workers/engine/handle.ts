import { AsyncLocalStorage } from 'node:async_hooks';
import { type ChildProcess, fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Logger } from 'pino';
import type { Engine, EngineHooks, EngineInfo, EngineJobs } from '../../activities/engine.ts';
import { DEFAULTS } from '../../core/defaults.ts';
import { isErrorName, LiloraError } from '../../core/errors.ts';
import type { FromEngine, ToEngine } from './protocol.ts';

const ENTRY = fileURLToPath(new URL('./process.ts', import.meta.url));
/** Milliseconds between signs of life of an engine that has not spoken yet. */
const QUIET_BEAT = 2000;
const LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;

/** What TensorFlow, CUDA, Node and our own settings need. The process decodes files of others and needs no credentials. */
const NEEDED =
  /^(?:PATH|HOME|USER|LANG|LC_\w+|TZ|TMPDIR|LD_\w+|CUDA_\w+|NVIDIA_\w+|TF_\w+|OMP_\w+|MKL_\w+|KMP_\w+|XLA_\w+|NODE_\w+|XDG_\w+|LILORA_\w+)$/;
const SECRET = /SECRET|TOKEN|PASSWORD|KEY/;

/** The variables that the engine process gets. */
export function engineEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => NEEDED.test(name) && !SECRET.test(name)));
}

/**
 * The worker's side of the engine process: starts it when the first job comes, keeps it warm, replaces it when it dies.
 * Jobs run one after another; a dead process fails its job with `EngineLost`, which a retry cures from the last checkpoint.
 */
export class EngineProcess implements Engine {
  private readonly log: Logger;
  private child: ChildProcess | null = null;
  private ready: Promise<EngineInfo> | null = null;
  private previous: Promise<unknown> = Promise.resolve();
  private nextId = 1;

  constructor(log: Logger) {
    this.log = log;
  }

  /** Starts the process now (cold start beside other work) and tells its back end. */
  start(): Promise<EngineInfo> {
    this.ready ??= this.spawn();
    return this.ready;
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  run<Kind extends keyof EngineJobs>(
    kind: Kind,
    job: EngineJobs[Kind]['job'],
    hooks: EngineHooks,
  ): Promise<EngineJobs[Kind]['result']> {
    const result = this.previous.then(() => this.runNow(kind, job, hooks));
    this.previous = result.catch(() => {});
    return result;
  }

  /** Ends the process. */
  async close(): Promise<void> {
    const child = this.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((exited) => child.once('exit', exited));
    child.kill('SIGKILL'); // it holds nothing that is not in the store
    await gone;
  }

  private spawn(): Promise<EngineInfo> {
    const child = fork(ENTRY, [], {
      execArgv: ['--import', LOADER],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: engineEnvironment(process.env),
    });
    this.child = child;
    const tail: string[] = [];
    child.stdout!.on('data', (text: Buffer) => this.log.debug({ engine: child.pid }, text.toString().trimEnd()));
    child.stderr!.on('data', (text: Buffer) => {
      tail.push(text.toString());
      if (tail.length > 20) tail.shift();
      this.log.debug({ engine: child.pid }, text.toString().trimEnd());
    });
    return new Promise((started, failed) => {
      child.once('message', (message: FromEngine) => {
        if (message.type !== 'ready') return;
        this.log.info({ engine: child.pid, ...message.info }, 'engine ready');
        started(message.info);
      });
      child.once('exit', (code, signal) => {
        if (this.child === child) this.child = this.ready = null;
        failed(lost(`could not start (${signal ?? `exit code ${code}`}): ${tail.join('').slice(-2000)}`));
      });
    });
  }

  private async runNow<Kind extends keyof EngineJobs>(
    kind: Kind,
    job: EngineJobs[Kind]['job'],
    hooks: EngineHooks,
  ): Promise<EngineJobs[Kind]['result']> {
    if (hooks.signal.aborted) throw new LiloraError('Cancelled', `The ${kind} job was cancelled before it began.`);
    await this.start();
    const child = this.child;
    if (!child) throw lost('ended before the job began');
    const id = this.nextId++;
    // Messages arrive outside the activity; hooks heartbeat, so they must run inside it.
    const within = AsyncLocalStorage.snapshot();
    const tell = (message: ToEngine) => child.connected && child.send(message, () => {});

    return new Promise((done, failed) => {
      let killer: NodeJS.Timeout | undefined;
      // Loading weights and sums over earlier tasks keep the engine too busy to speak: until its first word its being
      // alive counts as progress, for a bounded time. After that only progress does, so that a hung kernel is noticed.
      const silentUntil = Date.now() + DEFAULTS['engine.quietMinutes'].value * 60_000;
      const quiet = setInterval(() => {
        if (Date.now() < silentUntil) within(() => hooks.onProgress({ step: 0, steps: 0, loss: null }));
      }, QUIET_BEAT);
      const abort = () => {
        tell({ type: 'stop', id });
        // A hung kernel never reads the message.
        killer = setTimeout(() => child.kill('SIGKILL'), DEFAULTS['engine.stopSeconds'].value * 1000);
      };
      const onExit = (code: number | null, signal: string | null) => {
        finish();
        failed(lost(`died during ${kind} (${signal ?? `exit code ${code}`})`));
      };
      const onMessage = (message: FromEngine) => {
        if (message.type === 'ready' || message.id !== id) return;
        if (message.type === 'work') return within(() => hooks.onWork?.(message.working));
        clearInterval(quiet);
        if (message.type === 'progress') within(() => hooks.onProgress(message.progress));
        else if (message.type === 'checkpoint')
          within(() => hooks.onCheckpoint?.(message.path, message.step) ?? Promise.resolve()).then(
            () => tell({ type: 'checkpointed', id }),
            (error) => tell({ type: 'checkpointed', id, error: String(error?.message ?? error) }),
          );
        else {
          finish();
          if (message.type === 'done') done(message.result as EngineJobs[Kind]['result']);
          else {
            const { name, message: text } = message.error;
            failed(
              isErrorName(name)
                ? new LiloraError(name, text)
                : new LiloraError('EngineLost', `The engine failed in ${kind}: ${text}`),
            );
            // After running out of memory TensorFlow keeps what it has: only a new process is clean.
            if (name === 'OutOfMemory' || !isErrorName(name)) child.kill('SIGKILL');
          }
        }
      };
      const finish = () => {
        clearTimeout(killer);
        clearInterval(quiet);
        hooks.signal.removeEventListener('abort', abort);
        child.off('exit', onExit);
        child.off('message', onMessage);
      };
      child.on('exit', onExit);
      child.on('message', onMessage);
      hooks.signal.addEventListener('abort', abort, { once: true });
      tell({ type: 'run', id, kind, job });
    });
  }
}

function lost(what: string): LiloraError {
  return new LiloraError(
    'EngineLost',
    `The engine process ${what}. The work goes on from its last checkpoint in a new one.`,
  );
}
