import { describe, expect, it } from 'vitest';
import { Random } from '../../learning/training/random.ts';
import { DAY, makeTasks, PATTERNS, readTasks } from './tasks.ts';

const demand = { streams: 50, tasksPerDay: 20, days: 28, runSeconds: [10, 30] };
const EXPECTED = 50 * 20 * 28;

describe.each(PATTERNS)('%s', (pattern) => {
  const made = makeTasks({ pattern, ...demand }, new Random(1));

  it('has the mean rate that was asked for, in order, within the time', () => {
    const count = made.at.length;
    // Bursts are five times as uneven: five standard deviations of either.
    expect(Math.abs(count - EXPECTED)).toBeLessThan(5 * Math.sqrt(EXPECTED * (pattern === 'bursts' ? 9 : 1)));
    expect(made.at.every((at, i) => at >= (made.at[i - 1] ?? 0))).toBe(true);
    expect(made.at.at(-1)).toBeLessThan(28 * DAY);
    expect(made.at[0]).toBeLessThan(DAY);
  });

  it('spreads over all streams and lengths', () => {
    expect(new Set(made.stream).size).toBe(50);
    const mean = made.run.reduce((a, b) => a + b, 0) / made.run.length;
    expect(mean).toBeCloseTo(20, 0);
  });
});

it('business hours are hours of business', () => {
  const { at } = makeTasks({ pattern: 'business', ...demand }, new Random(2));
  for (const second of at) {
    expect((second % DAY) / 3600).toBeGreaterThanOrEqual(8);
    expect((second % DAY) / 3600).toBeLessThan(18);
    expect(Math.floor(second / DAY) % 7).toBeLessThan(5);
  }
});

it('bursts are burstier than chance: the counts of ten minutes vary more than they would', () => {
  const spread = (pattern: 'poisson' | 'bursts') => {
    const counts = new Float64Array(Math.ceil((28 * DAY) / 600));
    for (const at of makeTasks({ pattern, ...demand, streams: 5 }, new Random(3)).at) counts[Math.floor(at / 600)]!++;
    const mean = counts.reduce((a, b) => a + b, 0) / counts.length;
    return counts.reduce((a, b) => a + (b - mean) ** 2, 0) / counts.length / mean;
  };
  expect(spread('poisson')).toBeCloseTo(1, 0);
  expect(spread('bursts')).toBeGreaterThan(3);
});

describe('a recorded trace', () => {
  it('is read in any order, with names of streams', () => {
    const read = readTasks('seconds,stream,run\n30,dogs,12\n10, cats ,24.5\n20,dogs,1\n', 'trace.csv');
    expect([...read.at]).toEqual([10, 20, 30]);
    expect([...read.stream]).toEqual([1, 0, 0]);
    expect([...read.run]).toEqual([24.5, 1, 12]);
    expect(read.streams).toBe(2);
  });

  it.each(['10,dogs', 'x\n-1,dogs,3', 'x\n1,dogs,zero'])('%j is refused', (text) => {
    expect(() => readTasks(text, 'trace.csv')).toThrow(/trace\.csv:\d: .* is not "seconds,stream,run seconds"/);
  });
});
