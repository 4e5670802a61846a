import { LRUCache } from 'lru-cache';

/** Sources that are remembered; the one not seen for longest is forgotten first. */
const SOURCES = 10_000;

/** A token bucket per source. */
export class RateLimit {
  private readonly perSecond: number;
  private readonly burst: number;
  private readonly buckets = new LRUCache<string, { tokens: number; at: number }>({ max: SOURCES });

  constructor(perSecond: number, burst: number) {
    this.perSecond = perSecond;
    this.burst = burst;
  }

  /** Takes `cost` tokens and says whether the source had one left. A bucket may go into debt, at most by its size. */
  take(source: string, cost = 1, now = performance.now()): boolean {
    const bucket = this.buckets.get(source) ?? { tokens: this.burst, at: now };
    const filled = Math.min(this.burst, bucket.tokens + ((now - bucket.at) / 1000) * this.perSecond);
    const allowed = filled >= 1;
    this.buckets.set(source, { tokens: allowed ? Math.max(filled - cost, -this.burst) : filled, at: now });
    return allowed;
  }
}
