import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A build that failed is not tried again for this long, unless it is asked for by name. */
const PATIENCE_MS = 60 * 60 * 1000;

const fileOf = (cache, key) => join(cache, 'failed', `${key}.json`);

/** @param {string} cache @param {string} key what failed, e.g. the cache folder that it was to fill @param {string} message */
export function rememberFailure(cache, key, message) {
  mkdirSync(join(cache, 'failed'), { recursive: true });
  writeFileSync(fileOf(cache, key), JSON.stringify({ at: Date.now(), message }));
}

/** @param {string} cache @param {string} key @returns {string | undefined} why it failed, when that was a short while ago */
export function recentFailure(cache, key, now = Date.now()) {
  try {
    const { at, message } = JSON.parse(readFileSync(fileOf(cache, key), 'utf8'));
    return now - at < PATIENCE_MS ? message : undefined;
  } catch {
    return undefined;
  }
}

/** @param {string} cache @param {string} key */
export function forgetFailure(cache, key) {
  rmSync(fileOf(cache, key), { force: true });
}
