import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const DRAFT = '.draft-';

/**
 * Makes a folder of the cache in one piece: `make` fills a draft beside it, which is then renamed. What a killed set-up left behind is
 * removed first. Call it with the cache's lock held.
 * @param {string} folder absolute path
 * @param {(draft: string) => Promise<void>} make
 * @returns {Promise<boolean>} true when it was made now, false when it was there
 */
export async function place(folder, make) {
  const parent = dirname(folder);
  mkdirSync(parent, { recursive: true });
  for (const name of readdirSync(parent)) {
    if (name.startsWith(basename(folder) + DRAFT)) rmSync(join(parent, name), { recursive: true, force: true });
  }
  if (exists(folder)) return false;
  const draft = `${folder}${DRAFT}${process.pid}`;
  mkdirSync(draft);
  try {
    await make(draft);
    renameSync(draft, folder);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
  return true;
}

/**
 * Removes the drafts of processes that are gone. (What a killed set-up had started may write on for a while.)
 * @param {string} cache
 */
export function sweep(cache) {
  for (const name of readdirSync(cache)) {
    const pid = name.split(DRAFT)[1];
    if (pid !== undefined && !alive(Number(pid))) rmSync(join(cache, name), { recursive: true, force: true });
  }
}

/**
 * Takes the lock of a cache, so that two set-ups at once do not build the same thing. A lock whose process is gone is taken over.
 * @param {string} path the lock file
 * @param {{onWait?: (pid: number) => void, pollMs?: number}} options
 * @returns {Promise<() => void>} gives the lock back
 */
export async function lock(path, { onWait = () => {}, pollMs = 250 } = {}) {
  mkdirSync(dirname(path), { recursive: true });
  // The pid is in the file before the file has its name: nobody ever reads an empty lock.
  const mine = `${path}.${process.pid}`;
  writeFileSync(mine, `${process.pid}\n`);
  try {
    for (let told = false; ; ) {
      try {
        linkSync(mine, path);
        break;
      } catch (error) {
        if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
      }
      const holder = readHolder(path);
      if (holder === undefined) continue; // given back between the two looks
      if (!alive(holder)) {
        takeAside(path, holder);
        continue;
      }
      if (!told) onWait(holder);
      told = true;
      await sleep(pollMs);
    }
  } finally {
    rmSync(mine, { force: true });
  }
  return () => {
    if (readHolder(path) === process.pid) rmSync(path, { force: true });
  };
}

/** Removes a dead process's lock, unless another waiter has already put its own in that place. */
function takeAside(path, holder) {
  const aside = `${path}.stale-${process.pid}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  if (Number(readFileSync(aside, 'utf8')) !== holder) {
    // Somebody was quicker and holds it now: give it back its name.
    try {
      linkSync(aside, path);
    } catch {
      // A third one came in between; the holder notices nothing and both builds end in a rename of equal content.
    }
  }
  unlinkSync(aside);
}

function readHolder(path) {
  try {
    const pid = Number(readFileSync(path, 'utf8'));
    return Number.isInteger(pid) && pid > 0 ? pid : -1;
  } catch {
    return undefined;
  }
}

/** @param {number} pid */
export function alive(pid) {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}

/** @param {string} path */
function exists(path) {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
