/**
 * What learning costs, as plain numbers: usage as workers measure it, sums of it, and its estimate in money by a price
 * table. Workflows, activities, verbs and the fleet simulator share this arithmetic, so it imports nothing.
 */

/** What is measured of a step, and summed over steps. Seconds are wall-clock seconds. */
export interface Measured {
  /** Length of the attempt that ended the step; in sums, of all attempts. */
  readonly seconds: number;
  /** What the worker's life took since its last step, or since its start: the step pays what stands before it. */
  readonly waitedSeconds: number;
  /** In which the engine worked on what was kept: no start, no loading, no transfer, nothing after a lost checkpoint. */
  readonly usefulSeconds: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Requests to object stores that read or ask, and those that write or list (as S3 prices them). */
  readonly reads: number;
  readonly writes: number;
}

/** What one step used, as its worker measured it: the result of one activity carries it. */
export interface StepUsage extends Measured {
  /** Id of the activity in its workflow: a step is counted once. */
  readonly activity: string;
  /** The worker process. */
  readonly worker: string;
  /** Its task queue: the GPU class. */
  readonly queue: string;
  /** Whether the worker holds a GPU. */
  readonly gpu: boolean;
  /** ISO 8601. */
  readonly startedAt: string;
  /** Length of earlier attempts that were lost, up to their last sign of life. */
  readonly lostSeconds: number;
}

/** Sums over steps on one queue. */
export interface QueueUsage extends Measured {
  readonly gpu: boolean;
  readonly steps: number;
}

/** Sums by task queue. */
export type Usage = Readonly<Record<string, QueueUsage>>;

/** What a worker of one GPU class costs. */
export interface WorkerPrice {
  readonly perSecond: number;
  /** A worker's life is billed at least so long, and in whole multiples of the granularity. */
  readonly minimumSeconds?: number;
  readonly granularitySeconds?: number;
}

/** What the user pays: nothing is known by default. A gigabyte is 10⁹ bytes. */
export interface PriceTable {
  /** For people: EUR, USD. */
  readonly currency: string;
  /** Where the numbers are from: for people. */
  readonly source?: string;
  /** By task queue. */
  readonly workers?: Readonly<Record<string, WorkerPrice>>;
  readonly storage?: {
    readonly perGigabyteMonth?: number;
    readonly perGigabyteRead?: number;
    readonly perGigabyteWritten?: number;
    readonly perThousandReads?: number;
    readonly perThousandWrites?: number;
  };
}

/** Limits above which a task waits for a person. What is left out has no limit. */
export interface Budget {
  readonly taskGpuSeconds?: number;
  readonly streamGpuSeconds?: number;
  readonly taskMoney?: number;
  readonly streamMoney?: number;
}

export const BUDGET_FIELDS = ['taskGpuSeconds', 'streamGpuSeconds', 'taskMoney', 'streamMoney'] as const;

const NOTHING: Omit<QueueUsage, 'gpu'> = {
  steps: 0,
  seconds: 0,
  waitedSeconds: 0,
  usefulSeconds: 0,
  bytesRead: 0,
  bytesWritten: 0,
  reads: 0,
  writes: 0,
};
export type UsageName = keyof typeof NOTHING;
const SUMMED = Object.keys(NOTHING) as UsageName[];

/** Milliseconds are enough, and keep sums short in payloads. */
const round = (value: number) => Math.round(value * 1000) / 1000;

/** A step as a sum of one. */
export function usageOf({ queue, gpu, seconds, lostSeconds, ...rest }: StepUsage): Usage {
  const { waitedSeconds, usefulSeconds, bytesRead, bytesWritten, reads, writes } = rest;
  const sums = { waitedSeconds, usefulSeconds, bytesRead, bytesWritten, reads, writes };
  return { [queue]: { gpu, steps: 1, seconds: round(seconds + lostSeconds), ...sums } };
}

/** A step that has not ended: nothing is known of it but how long it runs. */
export function openUsage(queue: string, seconds: number): Usage {
  return { [queue]: { ...NOTHING, gpu: true, steps: 1, seconds } };
}

/** Sums usages queue by queue. */
export function sumUsage(...usages: readonly Usage[]): Usage {
  const sums: Record<string, QueueUsage> = {};
  for (const usage of usages)
    for (const [queue, more] of Object.entries(usage)) {
      const have = sums[queue] ?? { ...NOTHING, gpu: more.gpu };
      const added = SUMMED.map((name) => [name, round(have[name] + more[name])]);
      sums[queue] = { ...(Object.fromEntries(added) as typeof NOTHING), gpu: have.gpu || more.gpu };
    }
  return sums;
}

/** One number over all queues, or over those with a GPU. */
export function total(usage: Usage, name: UsageName, gpuOnly = false): number {
  return round(Object.values(usage).reduce((sum, queue) => sum + (gpuOnly && !queue.gpu ? 0 : queue[name]), 0));
}

/** GPU-seconds that steps took, lost attempts included, waiting workers not: what a budget counts. */
export const gpuSeconds = (usage: Usage) => total(usage, 'seconds', true);

/** GPU-seconds billed: the steps, and what the workers' lives took before them. */
export const billedSeconds = (usage: Usage) => round(gpuSeconds(usage) + total(usage, 'waitedSeconds', true));

/** Estimated money, without storage over time. */
export interface Estimate {
  /** Null when a GPU class that was used has no price. */
  readonly workers: number | null;
  readonly moved: number;
  readonly requests: number;
  /** Null when `workers` is. */
  readonly total: number | null;
}

/**
 * What a usage costs by a price table. A GPU class without a price makes the estimate unknown; a queue without GPU, bytes
 * and requests without a price count as free.
 * @param waiting whether the waiting of workers before the steps is paid for (budgets leave it out)
 */
export function estimate(usage: Usage, prices: PriceTable | null | undefined, waiting = true): Estimate {
  const { workers: classes = {}, storage = {} } = prices ?? {};
  let workers: number | null = 0;
  for (const [queue, { gpu, seconds, waitedSeconds }] of Object.entries(usage)) {
    const price = classes[queue]?.perSecond;
    if (price === undefined) workers = gpu ? null : workers;
    else if (workers !== null) workers += price * (seconds + (waiting ? waitedSeconds : 0));
  }
  const of = (name: 'bytesRead' | 'bytesWritten' | 'reads' | 'writes', price: number | undefined, per: number) =>
    ((price ?? 0) * total(usage, name)) / per;
  const moved = of('bytesRead', storage.perGigabyteRead, 1e9) + of('bytesWritten', storage.perGigabyteWritten, 1e9);
  const requests = of('reads', storage.perThousandReads, 1000) + of('writes', storage.perThousandWrites, 1000);
  return { workers, moved, requests, total: workers === null ? null : workers + moved + requests };
}

/** The numbers that people look at first. */
export interface CostNumbers {
  readonly usefulSeconds: number;
  readonly billedSeconds: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Null when it is not known. */
  readonly money: number | null;
}

/** A usage in those numbers. Without a price table, money is unknown. */
export function costNumbers(usage: Usage, prices: PriceTable | null | undefined): CostNumbers {
  return {
    usefulSeconds: total(usage, 'usefulSeconds', true),
    billedSeconds: billedSeconds(usage),
    bytesRead: total(usage, 'bytesRead'),
    bytesWritten: total(usage, 'bytesWritten'),
    money: prices ? estimate(usage, prices).total : null,
  };
}

/** What stored bytes cost in a month; null without a price. */
export function storagePerMonth(bytes: number, prices: PriceTable | null | undefined): number | null {
  const price = prices?.storage?.perGigabyteMonth;
  return price === undefined ? null : (price * bytes) / 1e9;
}

/** Seconds that a worker's whole life is billed for: at least the minimum, in whole multiples of the granularity. */
export function billedLife(seconds: number, price: Omit<WorkerPrice, 'perSecond'> = {}): number {
  const { minimumSeconds = 0, granularitySeconds = 0 } = price;
  const least = Math.max(seconds, minimumSeconds);
  // A life of 10.000000001 s by rounding errors is one of 10 s.
  return granularitySeconds > 0 ? Math.ceil(least / granularitySeconds - 1e-9) * granularitySeconds : least;
}

/**
 * The first limit that is reached, in words; null when there is none. Limits in money need prices: an unknown estimate
 * reaches every one of them, because it might.
 * @param task what the running task used
 * @param before what the stream used before it
 */
export function budgetReached(
  budget: Budget,
  task: Usage,
  before: Usage,
  prices: PriceTable | null | undefined,
): string | null {
  const stream = sumUsage(before, task);
  const money = (usage: Usage) => estimate(usage, prices, false).total;
  const unit = prices?.currency ?? 'money';
  const checks = [
    ['task', budget.taskGpuSeconds, gpuSeconds(task), 'GPU-seconds'],
    ['stream', budget.streamGpuSeconds, gpuSeconds(stream), 'GPU-seconds'],
    ['task', budget.taskMoney, money(task), unit],
    ['stream', budget.streamMoney, money(stream), unit],
  ] as const;
  for (const [what, limit, used, of] of checks) {
    if (limit === undefined) continue;
    if (used === null) return `The budget of the ${what} is ${limit} ${of}, and what was used has no price.`;
    if (used >= limit) return `The ${what} used ${Number(used.toFixed(2))} of its budget of ${limit} ${of}.`;
  }
  return null;
}
