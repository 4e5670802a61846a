import type { Logger } from 'pino';
import { DEFAULTS } from '../core/defaults.ts';
import { type Lease, writeLease } from '../store/leases.ts';
import type { ObjectStore } from '../store/object-store.ts';

/** What of a lease the worker knows by itself. */
export interface LeaseHolder {
  readonly worker: string;
  readonly queue: string;
  /** Seconds in which an activity ran, so far. */
  busySeconds(): number;
  /** End of the last activity, or now while one runs; null when none ever began. */
  workedUntil(): Date | null;
}

/**
 * Keeps the lease of this process in the store (store/leases.ts) until `close`. A store that does not answer costs a
 * line in the log, never the work.
 */
export function holdLease(store: ObjectStore, holder: LeaseHolder, log: Logger): { close(): Promise<void> } {
  const startedAt = new Date(performance.timeOrigin).toISOString();
  let writing: Promise<void> = Promise.resolve();
  const write = (ended: boolean) => {
    const now = new Date().toISOString();
    const until = holder.workedUntil()?.toISOString() ?? null;
    const lease: Lease = {
      schema: 1,
      worker: holder.worker,
      queue: holder.queue,
      startedAt,
      lastSeenAt: now,
      endedAt: ended ? now : null,
      busySeconds: Math.round(holder.busySeconds() * 1000) / 1000,
      workedUntil: until && until < now ? until : until && now,
    };
    // One after another: an older state must never overwrite the last one.
    writing = writing
      .then(() => writeLease(store, lease))
      .catch((error) => log.warn({ error: error.message }, 'the lease of this worker was not written'));
    return writing;
  };
  void write(false);
  const timer = setInterval(() => void write(false), DEFAULTS['worker.leaseSeconds'].value * 1000);
  return {
    close: () => {
      clearInterval(timer);
      return write(true);
    },
  };
}
