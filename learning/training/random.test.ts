import { expect, test } from 'vitest';
import { Random } from './random.ts';

test('xoshiro128** from the state 1, 2, 3, 4, as the reference implementation gives it', () => {
  const random = new Random(Uint32Array.of(1, 2, 3, 4));
  const wanted = [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804];
  expect(wanted.map(() => random.uint32())).toEqual(wanted);
});

test('goes on from its state, and splitting draws nothing', () => {
  const random = new Random(1);
  random.uint32();
  const { state } = random;
  const next = random.split('a').permutation(20);
  expect(random.state).toEqual(state);
  expect(new Random(state).split('a').permutation(20)).toEqual(next);
  expect(random.split('b').permutation(20)).not.toEqual(next);
  expect(new Random(2).split('a').permutation(20)).not.toEqual(next);
});

test('normal numbers have mean 0 and variance 1; uniform ones stay in [0, 1)', () => {
  const random = new Random(3);
  const normal = Array.from({ length: 20_000 }, () => random.normal());
  const mean = normal.reduce((sum, x) => sum + x, 0) / normal.length;
  const variance = normal.reduce((sum, x) => sum + (x - mean) ** 2, 0) / normal.length;
  expect(Math.abs(mean)).toBeLessThan(0.03);
  expect(Math.abs(variance - 1)).toBeLessThan(0.04);
  const uniform = Array.from({ length: 20_000 }, () => random.uniform());
  expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...uniform)).toBeLessThan(1);
});
