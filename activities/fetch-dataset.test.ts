import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { removeAbandoned } from './fetch-dataset.ts';

const HOUR = 3600 * 1000;
let cache: string;
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'lilora-cache-'));
});
afterEach(() => rmSync(cache, { recursive: true }));

it('folders of killed fetches go, those that may be in use and everything else stay', async () => {
  await mkdir(join(cache, 'fetch-killed', 'images'), { recursive: true });
  writeFileSync(join(cache, 'fetch-killed', 'images', 'one'), 'left behind');
  await mkdir(join(cache, 'models'));
  await removeAbandoned(cache, Date.now() + 2 * HOUR);
  expect(readdirSync(cache).sort()).toEqual(['fetch-killed', 'models']);
  // Several workers of one machine may begin at the same time.
  const later = Date.now() + 4 * HOUR;
  await Promise.all([removeAbandoned(cache, later), removeAbandoned(cache, later)]);
  expect(readdirSync(cache)).toEqual(['models']);
  await removeAbandoned(join(cache, 'no-such-folder'));
});
