import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from '../workers/runtime.ts';

/** The `lilora` command as a process: what it says, and how it ends. */
export interface Running {
  readonly child: ChildProcess;
  readonly said: { stdout: string; stderr: string };
  readonly ended: Promise<number | null>;
}

export function startLilora(args: readonly string[], options: { env: NodeJS.ProcessEnv; cwd?: string }): Running {
  const child = spawn(process.execPath, [join(ROOT, 'cli/lilora.mjs'), ...args], {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (text) => {
    said.stdout += text;
  });
  child.stderr.on('data', (text) => {
    said.stderr += text;
  });
  return { child, said, ended: new Promise((done) => child.once('close', done)) };
}
