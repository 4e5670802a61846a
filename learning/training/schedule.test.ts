import { expect, test } from 'vitest';
import { cosineWithWarmup } from './schedule.ts';

test('ten steps with two of warm-up, worked by hand', () => {
  const factors = Array.from({ length: 10 }, (_, step) => cosineWithWarmup(step, 10, 0.2));
  const root = Math.SQRT1_2;
  // ½ (1 + cos(π k / 8)): k = 2 is 45°, k = 4 is 90°, k = 6 is 135°.
  const wanted = [1 / 3, 2 / 3, 1, 0.96194, (1 + root) / 2, 0.691342, 0.5, 0.308658, (1 - root) / 2, 0.03806];
  for (const [step, factor] of factors.entries()) expect(factor, `step ${step}`).toBeCloseTo(wanted[step]!, 5);
});

test('the warm-up is rounded up and may be absent or everything', () => {
  expect(cosineWithWarmup(0, 10, 0)).toBe(1);
  expect(cosineWithWarmup(0, 10, 0.01)).toBe(0.5);
  expect(cosineWithWarmup(1, 10, 0.01)).toBe(1);
  expect(cosineWithWarmup(3, 4, 1)).toBe(0.8);
  expect(cosineWithWarmup(0, 1, 0)).toBe(1);
});

test('every step moves', () => {
  for (const ratio of [0, 0.03, 0.5, 1]) {
    for (let step = 0; step < 7; step++) expect(cosineWithWarmup(step, 7, ratio)).toBeGreaterThan(0);
  }
});
