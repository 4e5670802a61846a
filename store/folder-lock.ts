import { randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';

/** When a process started, in clock ticks since boot: tells it from an earlier one with the same id. Linux only. */
async function startOf(pid: number | 'self'): Promise<string | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  // The command's name, in parentheses, may hold spaces; field 22 is the 20th after it.
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null;
}

interface Owner {
  readonly host: string;
  readonly pid: number;
  readonly start: string | null;
}

/**
 * Runs `work` while holding the lock file `folder/name`. A lock whose process on this machine is dead is removed; one
 * of a living process, or of another machine, is waited for, and then fails with `StoreUnavailable`.
 */
export async function withLock<T>(folder: string, name: string, work: () => Promise<T>): Promise<T> {
  const path = join(folder, name);
  await mkdir(folder, { recursive: true });
  await acquire(folder, path);
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function acquire(folder: string, path: string): Promise<void> {
  const owner: Owner = { host: hostname(), pid: process.pid, start: await startOf('self') };
  const own = join(folder, randomUUID());
  // The lock appears by link with its content in it: a lock that cannot be read yet would look like a damaged one.
  await writeFile(own, JSON.stringify(owner));
  try {
    const deadline = Date.now() + DEFAULTS['store.lockSeconds'].value * 1000;
    while (!(await tryLink(own, path))) {
      if (await isDead(path)) await removeDead(own, path);
      else if (Date.now() > deadline) {
        throw new LiloraError(
          'StoreUnavailable',
          `${path}: held by another process for over ${DEFAULTS['store.lockSeconds'].value} s. If no process uses this folder, remove ${path}*.`,
        );
      }
      await sleep(1 + Math.random() * 8);
    }
  } finally {
    await rm(own, { force: true });
  }
}

async function tryLink(from: string, to: string): Promise<boolean> {
  return link(from, to).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return false;
      throw error;
    },
  );
}

async function isDead(path: string): Promise<boolean> {
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) return false;
  let owner: Partial<Owner>;
  try {
    owner = JSON.parse(text);
  } catch {
    return false;
  }
  if (owner.host !== hostname() || typeof owner.pid !== 'number') return false;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
  const start = await startOf(owner.pid);
  return start !== null && typeof owner.start === 'string' && start !== owner.start;
}

/** Removes a dead process's lock. Only one may do so at a time, and it looks again: else it could remove a new lock. */
async function removeDead(own: string, path: string): Promise<void> {
  const guard = `${path}.removing`;
  if (!(await tryLink(own, guard))) {
    return;
  }
  try {
    if (await isDead(path)) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}
