import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openUsage } from '../core/cost.ts';
import { FolderStore } from '../store/folder.ts';
import { writeLease } from '../store/leases.ts';
import { fleetCosts, idleShares } from './fleet-cost.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-fleet-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();

it('what no step pays for is shared out by the seconds of steps, and all of it is shared', async () => {
  const store = new FolderStore(folder);
  // Lives of 50, 30 and 20 s. Steps until 40, until 30 and never; 30, 20 and 0 s of them with a step.
  for (const [worker, end, until, busy] of [
    ['a', 50, 40, 30],
    ['b', 30, 30, 20],
    ['c', 20, null, 0],
  ] as const)
    await writeLease(store, {
      ...{ schema: 1, worker, queue: 'l4', startedAt: at(0), lastSeenAt: at(end), endedAt: at(end), busySeconds: busy },
      workedUntil: until === null ? null : at(until),
    });
  const [ours, theirs] = [openUsage('l4', 35), openUsage('l4', 15)];
  const fleets = await fleetCosts(store, ours, null);
  expect(fleets).toMatchObject([{ queue: 'l4', lives: 3, billedSeconds: 100, busySeconds: 50, idleSeconds: 30 }]);
  expect(idleShares(fleets, ours)).toEqual({ l4: 21 });
  expect(idleShares(fleets, ours)['l4']! + idleShares(fleets, theirs)['l4']!).toBe(30);
  const minimum = { currency: 'EUR', workers: { l4: { perSecond: 1, minimumSeconds: 60 } } };
  expect(await fleetCosts(store, ours, minimum)).toMatchObject([{ billedSeconds: 180, idleSeconds: 110 }]);
  expect(await fleetCosts(store, openUsage('h100', 1), null)).toEqual([]);
});
