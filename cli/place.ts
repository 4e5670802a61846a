import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Root of this checkout or package. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What a running `lilora dev` or `lilora demo` leaves for the other verbs; readable by its owner only. */
export interface Running {
  readonly pid: number;
  /** When that process began, as its system counts: process ids are used again. */
  readonly birth: string | null;
  readonly folder: string;
  readonly ui: string | null;
  /** Variables that lead to its servers. */
  readonly env: Readonly<Record<string, string>>;
}

/** Folder of everything that `dev` and `demo` keep. */
export function homeFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env['LILORA_HOME'] ? resolve(env['LILORA_HOME']) : join(ROOT, '.lilora');
}

export const runningFile = (home: string) => join(home, 'running.json');

/** Start time of a process in clock ticks since boot; null where /proc does not tell. */
export function birthOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in brackets may hold anything; the start time is the 20th field behind it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

/** The servers that run here now, or null. */
export function findRunning(home: string = homeFolder()): Running | null {
  try {
    const found = JSON.parse(readFileSync(runningFile(home), 'utf8')) as Running;
    process.kill(found.pid, 0);
    return birthOf(found.pid) === found.birth ? found : null;
  } catch {
    return null;
  }
}

/**
 * The environment of a verb: the process's own; where that names neither Temporal nor a store, what `lilora dev` runs
 * on this machine.
 */
export function verbEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const running = servesVerb(env) && findRunning(homeFolder(env));
  return running ? { ...env, ...running.env } : env;
}

/** Whether a verb looks for what `lilora dev` runs. */
const servesVerb = (env: NodeJS.ProcessEnv) =>
  !env['TEMPORAL_ADDRESS'] && !env['TEMPORAL_PROFILE'] && !env['LILORA_STORE'];

/** Time between two looks after the servers of `lilora dev`, in milliseconds. */
const LOOK = 1000;

/**
 * For a process that found its servers by `verbEnvironment`: aborts when they go, so that nothing outlives `lilora dev`.
 * Undefined for servers that are not ours. Call it before the environment is adopted.
 */
export function untilServersGo(env: NodeJS.ProcessEnv = process.env): AbortSignal | undefined {
  const home = homeFolder(env);
  const running = servesVerb(env) && findRunning(home);
  if (!running) return undefined;
  const gone = new AbortController();
  const timer = setInterval(() => {
    if (findRunning(home)?.pid === running.pid) return;
    clearInterval(timer);
    gone.abort();
  }, LOOK);
  timer.unref();
  return gone.signal;
}
