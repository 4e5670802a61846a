import { expect, it } from 'vitest';
import { RateLimit } from './rate.ts';

it('allows a burst, then so many a second, for each source on its own', () => {
  const limit = new RateLimit(10, 5);
  const taken = (source: string, from: number, count: number) =>
    Array.from({ length: count }, () => limit.take(source, 1, from)).filter(Boolean).length;
  expect(taken('a', 0, 8)).toBe(5);
  expect(taken('b', 0, 8)).toBe(5);
  expect(taken('a', 200, 8)).toBe(2);
  expect(taken('a', 100_000, 8)).toBe(5);
});

it('makes a source wait that ran into debt, and not longer for asking', () => {
  const limit = new RateLimit(10, 5);
  expect(limit.take('a', 100, 0)).toBe(true);
  for (let now = 0; now <= 500; now += 10) expect(limit.take('a', 1, now)).toBe(false);
  expect(limit.take('a', 1, 620)).toBe(true);
});
