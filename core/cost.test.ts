import { describe, expect, it } from 'vitest';
import {
  billedLife,
  billedSeconds,
  budgetReached,
  estimate,
  gpuSeconds,
  type PriceTable,
  type StepUsage,
  storagePerMonth,
  sumUsage,
  total,
  usageOf,
} from './cost.ts';

const step = (change: Partial<StepUsage> = {}): StepUsage => ({
  activity: '1',
  worker: 'w',
  queue: 'l4',
  gpu: true,
  startedAt: '2026-01-01T00:00:00.000Z',
  seconds: 100,
  lostSeconds: 20,
  waitedSeconds: 10,
  usefulSeconds: 90,
  bytesRead: 3e9,
  bytesWritten: 1e9,
  reads: 500,
  writes: 100,
  ...change,
});
const training = usageOf(step());
const fetching = usageOf(step({ queue: 'data', gpu: false, seconds: 5, lostSeconds: 0, usefulSeconds: 0 }));
const prices: PriceTable = {
  currency: 'EUR',
  workers: { l4: { perSecond: 0.5 } },
  storage: { perGigabyteMonth: 2, perGigabyteRead: 10, perThousandReads: 4, perThousandWrites: 50 },
};

describe('usage', () => {
  it('sums by queue, lost attempts included', () => {
    const sum = sumUsage(training, fetching, training);
    expect(sum['l4']).toMatchObject({ steps: 2, seconds: 240, waitedSeconds: 20, usefulSeconds: 180, reads: 1000 });
    expect(sum['data']).toMatchObject({ gpu: false, steps: 1, seconds: 5 });
    expect(gpuSeconds(sum)).toBe(240);
    expect(billedSeconds(sum)).toBe(260);
    expect(total(sum, 'bytesRead')).toBe(9e9);
    expect(sumUsage()).toEqual({});
  });
});

describe('money', () => {
  it('is worked by hand: (120 + 10) s at 0.5, 3 GB read at 10, 500 reads at 4 and 100 writes at 50 a thousand', () => {
    expect(estimate(training, prices)).toEqual({ workers: 65, moved: 30, requests: 7, total: 102 });
    expect(estimate(training, prices, false).workers).toBe(60);
    expect(storagePerMonth(5e8, prices)).toBe(1);
  });

  it('is unknown without a price of a GPU that was used, and only then', () => {
    expect(estimate(training, null).total).toBeNull();
    expect(estimate(sumUsage(training, usageOf(step({ queue: 'h100' }))), prices).total).toBeNull();
    expect(estimate(fetching, null).total).toBe(0);
    expect(storagePerMonth(1, null)).toBeNull();
  });

  it('of a life has a minimum and whole units', () => {
    expect(billedLife(12.3)).toBe(12.3);
    expect(billedLife(12.3, { minimumSeconds: 60 })).toBe(60);
    expect(billedLife(61, { minimumSeconds: 60, granularitySeconds: 60 })).toBe(120);
    expect(billedLife(0.1 + 0.2, { granularitySeconds: 0.1 })).toBeCloseTo(0.3, 9);
  });
});

describe('a budget', () => {
  const reached = (budget: object, table: PriceTable | null = prices) =>
    budgetReached(budget, training, training, table);

  it('is reached by what the task or the stream used, in seconds or money', () => {
    expect(reached({})).toBeNull();
    expect(reached({ taskGpuSeconds: 121, streamGpuSeconds: 241, taskMoney: 98, streamMoney: 195 })).toBeNull();
    expect(reached({ taskGpuSeconds: 120 })).toBe('The task used 120 of its budget of 120 GPU-seconds.');
    expect(reached({ streamGpuSeconds: 240 })).toMatch(/^The stream used 240 of its budget of 240/);
    expect(reached({ taskMoney: 97 })).toBe('The task used 97 of its budget of 97 EUR.');
    expect(reached({ streamMoney: 194 })).toMatch(/^The stream used 194 of/);
  });

  it('in money is reached when the money is not known', () => {
    expect(reached({ taskMoney: 1000 }, null)).toMatch(/has no price/);
  });
});
