import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';

export interface ChildOptions {
  /** What a person calls it. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Its output goes here, appended. */
  readonly logFile: string;
  /** Told about its death and its restart, in one line each. */
  readonly report: (line: string) => void;
}

/** Time for a polite end before the whole group is killed, in milliseconds. */
const GRACE = 15_000;
/** Waits between restarts, in milliseconds; the last one repeats. A child that lived a minute starts over. */
const BACK_OFF = [1_000, 2_000, 5_000, 15_000, 30_000];
const HEALTHY = 60_000;

/**
 * Starts the program and waits for it; ends it when our side of its standard input closes, which also happens when we
 * are killed. So nothing outlives `lilora dev`.
 */
const LEASH =
  '"$@" </dev/null & child=$!; exec 3<&0; { cat <&3 >/dev/null; kill -TERM $child 2>/dev/null; } & wait $child';

/** A child process that is started again when it dies, in a process group of its own: Ctrl-C reaches only us. */
export class Child {
  private readonly options: ChildOptions;
  private process: ChildProcess | null = null;
  private gone: Promise<void> = Promise.resolve();
  private timer: NodeJS.Timeout | undefined;
  private deaths = 0;
  private stopping = false;
  private logStart = 0;

  constructor(options: ChildOptions) {
    this.options = options;
    this.start();
  }

  private start(): void {
    const { name, command, args, env, logFile, report } = this.options;
    this.logStart = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
    const log = openSync(logFile, 'a', 0o600);
    const child = spawn('/bin/sh', ['-c', LEASH, 'sh', command, ...args], {
      env,
      detached: true,
      stdio: ['pipe', log, log],
    });
    closeSync(log);
    child.stdin!.on('error', () => {}); // it died first
    const born = Date.now();
    this.process = child;
    this.gone = new Promise((exited) => {
      child.once('exit', (code, signal) => {
        killGroup(child); // what it left behind, and the leash
        this.process = null;
        exited();
        if (this.stopping) return;
        if (Date.now() - born > HEALTHY) this.deaths = 0;
        const wait = BACK_OFF[Math.min(this.deaths++, BACK_OFF.length - 1)]!;
        report(
          `${name} ended (${signal ?? `exit code ${code}`}); it starts again in ${wait / 1000} s. Its log: ${logFile}`,
        );
        this.timer = setTimeout(() => this.start(), wait);
      });
      child.once('error', (error) => {
        report(`${name} could not start: ${error.message}`);
        exited();
      });
    });
  }

  /** Waits until its log says `text`. Fails when it dies first, with the end of the log. */
  async logged(text: string, seconds: number): Promise<void> {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      const log = this.logTail();
      if (log.includes(text)) return;
      const { name, logFile } = this.options;
      if (this.deaths > 0 || Date.now() > end) {
        const why = this.deaths > 0 ? 'ended while it started' : `was not ready within ${seconds} s`;
        throw new Error(
          `${name} ${why}. The end of its log (${logFile}):\n  ${log.trim().split('\n').slice(-12).join('\n  ')}`,
        );
      }
      await new Promise((wake) => setTimeout(wake, 100));
    }
  }

  private logTail(): string {
    try {
      return readFileSync(this.options.logFile).subarray(this.logStart).toString();
    } catch {
      return '';
    }
  }

  /** True while it has never died. */
  get steady(): boolean {
    return this.deaths === 0;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    clearTimeout(this.timer);
    const child = this.process;
    if (!child) return;
    child.stdin!.end();
    const killer = setTimeout(() => killGroup(child), GRACE);
    await this.gone;
    clearTimeout(killer);
  }
}

function killGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL');
  } catch {
    // nobody is left
  }
}
