import { mkdtempSync, rmSync, statSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { showAlive } from './alive.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-alive-'));
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(folder, { recursive: true });
});

it('keeps a file young while the event loop turns, and makes it again when it was cleaned up', () => {
  const file = join(folder, 'alive');
  showAlive(file);
  const age = () => Date.now() - statSync(file).mtimeMs;
  utimesSync(file, 0, 0);
  expect(age()).toBeGreaterThan(60_000);
  vi.advanceTimersByTime(10_000);
  expect(age()).toBeLessThan(5000);
  rmSync(file);
  vi.advanceTimersByTime(10_000);
  expect(age()).toBeLessThan(5000);
});
