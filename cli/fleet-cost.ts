import { billedLife, type PriceTable, type Usage } from '../core/cost.ts';
import { billedSeconds, idleSeconds, readLeases } from '../store/leases.ts';
import type { ObjectStore } from '../store/object-store.ts';

/** What the leases of one GPU class tell of its workers, for all streams together. */
export interface FleetCost {
  readonly queue: string;
  readonly lives: number;
  /** Whole lives, at least the minimum and in whole units of the price table. */
  readonly billedSeconds: number;
  /** In which a step ran. */
  readonly busySeconds: number;
  /** Which no step pays for: idle ends, starts that found no work, rounding up. */
  readonly idleSeconds: number;
  /** Those that every second of a step bears: they are shared out in proportion to the seconds of steps. */
  readonly idlePerSecond: number;
}

/** Of every GPU class that was used and whose workers left leases. */
export async function fleetCosts(store: ObjectStore, usage: Usage, prices: PriceTable | null): Promise<FleetCost[]> {
  const fleets: FleetCost[] = [];
  for (const queue of Object.keys(usage).filter((name) => usage[name]!.gpu)) {
    const leases = await readLeases(store, queue);
    const price = prices?.workers?.[queue];
    const sum = (of: (lease: (typeof leases)[number]) => number) =>
      leases.reduce((total, lease) => total + of(lease), 0);
    const [busy, idle] = [sum((lease) => lease.busySeconds), sum((lease) => idleSeconds(lease, price))];
    if (busy === 0) continue;
    fleets.push({
      queue,
      lives: leases.length,
      billedSeconds: sum((lease) => billedLife(billedSeconds(lease), price)),
      busySeconds: busy,
      idleSeconds: idle,
      idlePerSecond: idle / busy,
    });
  }
  return fleets;
}

/** The part of a usage in what no step pays for: seconds by queue. */
export function idleShares(fleets: readonly FleetCost[], usage: Usage): Record<string, number> {
  return Object.fromEntries(
    fleets.map(({ queue, idlePerSecond }) => [queue, idlePerSecond * (usage[queue]?.seconds ?? 0)]),
  );
}
