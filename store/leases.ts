import { z } from 'zod';
import { billedLife, type WorkerPrice } from '../core/cost.ts';
import { LiloraError } from '../core/errors.ts';
import { canonicalJson, parseJson } from '../core/json.ts';
import { nameOf, type ObjectStore } from './object-store.ts';

const leaseSchema = z.object({
  schema: z.literal(1),
  worker: z.string().min(1),
  queue: z.string().min(1),
  startedAt: z.iso.datetime(),
  lastSeenAt: z.iso.datetime(),
  endedAt: z.iso.datetime().nullable(),
  busySeconds: z.number().min(0),
  workedUntil: z.iso.datetime().nullable(),
});

/**
 * How long one worker process lived: what a platform bills for it. `workers/<queue>/<start>-<worker>.json` is written
 * when the process starts, refreshed while it lives, and closed when it ends; of a killed one `lastSeenAt` stays, less
 * than a refresh (`worker.leaseSeconds`) before its end. Only the worker itself writes it.
 */
export interface Lease {
  readonly schema: 1;
  /** The worker's identity in Temporal, and in the histories of the tasks that it worked on. */
  readonly worker: string;
  readonly queue: string;
  /** ISO 8601, as all times here: when the process began, before it had loaded anything. */
  readonly startedAt: string;
  readonly lastSeenAt: string;
  /** Null while it lives, and for ever when it was killed. */
  readonly endedAt: string | null;
  /** Seconds in which an activity ran. */
  readonly busySeconds: number;
  /** End of its last activity, or `lastSeenAt` while one runs; null when none ever began. */
  readonly workedUntil: string | null;
}

/** Leases sort by queue, then by start. */
export function leaseKey({ queue, startedAt, worker }: Pick<Lease, 'queue' | 'startedAt' | 'worker'>): string {
  return `workers/${queue}/${startedAt.replace(/[-:.]/g, '')}-${worker.replace(/[^\w.@-]/g, '_')}.json`;
}

export async function writeLease(store: ObjectStore, lease: Lease): Promise<void> {
  await store.put(leaseKey(lease), new TextEncoder().encode(canonicalJson(lease)));
}

/** Every lease of a queue, in the order of their starts. */
export async function readLeases(store: ObjectStore, queue: string): Promise<Lease[]> {
  const leases: Lease[] = [];
  for await (const { key } of store.list(`workers/${queue}/`)) {
    const parsed = leaseSchema.safeParse(parseJson((await store.get(key)).bytes, nameOf(store, key)));
    if (!parsed.success)
      throw new LiloraError(
        'IntegrityError',
        `${nameOf(store, key)} is no lease of a worker: ${z.prettifyError(parsed.error)}. Remove it.`,
      );
    leases.push(parsed.data);
  }
  return leases;
}

/** Seconds for which a worker is billed: from its start to its end, or to its last sign of life. */
export function billedSeconds({ startedAt, lastSeenAt, endedAt }: Lease): number {
  return (Date.parse(endedAt ?? lastSeenAt) - Date.parse(startedAt)) / 1000;
}

/**
 * Seconds of a life that no step pays for, since a step pays what stands before it: the idle end, the whole life of a
 * worker that nothing came for, and what a price table rounds up.
 */
export function idleSeconds(lease: Lease, price?: Omit<WorkerPrice, 'perSecond'>): number {
  const { startedAt, workedUntil } = lease;
  const paid = workedUntil === null ? 0 : (Date.parse(workedUntil) - Date.parse(startedAt)) / 1000;
  return billedLife(billedSeconds(lease), price) - paid;
}

/** How many workers lived from which time on: one entry per start and per end, in order. */
export function workerCounts(leases: readonly Lease[]): Array<{ readonly at: string; readonly workers: number }> {
  const changes = leases
    .flatMap(({ startedAt, lastSeenAt, endedAt }) => [
      { at: startedAt, by: 1 },
      { at: endedAt ?? lastSeenAt, by: -1 },
    ])
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  let workers = 0;
  return changes.map(({ at, by }) => {
    workers += by;
    return { at, workers };
  });
}
