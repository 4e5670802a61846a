import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { billedSeconds, idleSeconds, type Lease, leaseKey, readLeases, workerCounts, writeLease } from './leases.ts';
import { openStore } from './open.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-leases-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
const lease = (worker: string, from: number, to: number, ended = true): Lease => ({
  schema: 1,
  worker,
  queue: 'gpus',
  startedAt: at(from),
  lastSeenAt: at(to),
  endedAt: ended ? at(to) : null,
  busySeconds: 1.5,
  workedUntil: null,
});

describe('leases', () => {
  it('come back in the order of their starts, those of other queues left out', async () => {
    const store = openStore(folder);
    const [late, early] = [lease('7@b-2', 30, 40), lease('1@a-1', 4, 9)];
    for (const one of [late, early, { ...early, queue: 'gpus-large' }]) await writeLease(store, one);
    await writeLease(store, { ...early, busySeconds: 3 }); // refreshed
    expect(await readLeases(store, 'gpus')).toEqual([{ ...early, busySeconds: 3 }, late]);
    expect(leaseKey(early)).toBe('workers/gpus/20260101T000004000Z-1@a-1.json');
  });

  it('name what is none', async () => {
    const store = openStore(folder);
    await store.put('workers/gpus/x.json', Buffer.from('{"schema":1}'));
    await expect(readLeases(store, 'gpus')).rejects.toThrow(/workers\/gpus\/x\.json is no lease/);
  });

  it('bill a killed worker up to its last sign of life', () => {
    expect(billedSeconds(lease('a', 10, 25))).toBe(15);
    expect(billedSeconds(lease('a', 10, 20, false))).toBe(10);
  });

  it('leave to nobody what came after the last activity, and what is rounded up', () => {
    const worked = { ...lease('a', 10, 25), workedUntil: at(22) };
    expect(idleSeconds(worked)).toBe(3);
    expect(idleSeconds(lease('a', 10, 25))).toBe(15);
    expect(idleSeconds(worked, { minimumSeconds: 60 })).toBe(48);
  });

  it('count workers over time', () => {
    // a: 0 … 10, b: 5 … 30 (killed), c: 40 … 41
    const counts = workerCounts([lease('b', 5, 30, false), lease('a', 0, 10), lease('c', 40, 41)]);
    expect(
      counts.map(({ at: time, workers }) => [Date.parse(time) / 1000 - Date.UTC(2026, 0) / 1000, workers]),
    ).toEqual([
      [0, 1],
      [5, 2],
      [10, 1],
      [30, 0],
      [40, 1],
      [41, 0],
    ]);
  });
});
