import { describe, expect, it } from 'vitest';
import { Random } from '../learning/training/random.ts';
import { noiseOf, standardError } from './drift.ts';

describe('the noise of a difference', () => {
  it('is the pooled two-proportion standard error, worked by hand', () => {
    // 80 of 100 and 60 of 100: p = 0.7, sqrt(0.7 · 0.3 · 2 / 100) = 0.064807
    const noise = noiseOf({ score: 80, count: 100 }, { score: 60, count: 100 }, 1);
    expect(noise).toBeCloseTo(6.4807, 3);
    expect(noiseOf({ score: 80, count: null }, { score: 60, count: 100 }, 2)).toBeCloseTo(2 * noise, 9);
    expect(noiseOf({ score: 100, count: 10 }, { score: 100, count: 10 }, 3)).toBe(0);
    expect(noiseOf({ score: 150, count: 10 }, { score: 140, count: 10 }, 3)).toBe(0);
  });

  it('lets two samples of one distribution differ more in about one of 700 cases', () => {
    const random = new Random(5);
    const draw = () => {
      let right = 0;
      for (let i = 0; i < 100; i++) if (random.below(10) < 8) right++;
      return { score: right, count: 100 };
    };
    let over = 0;
    const times = 7000;
    for (let time = 0; time < times; time++) {
      const [a, b] = [draw(), draw()];
      if (a.score - b.score > noiseOf(a, b, 3)) over++;
    }
    expect(over / times).toBeLessThan(2 / 700);
    expect(over).toBeGreaterThan(0);
  });
});

it('the standard error is that of the scores of all choices', () => {
  // 12 samples, 9 of them right: every choice of 5, counted out.
  const right = [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0];
  const scores: number[] = [];
  for (let mask = 0; mask < 2 ** 12; mask++) {
    const chosen = right.filter((_, i) => mask & (1 << i));
    if (chosen.length === 5) scores.push((100 * chosen.reduce((a, b) => a + b, 0)) / 5);
  }
  const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
  const spread = Math.sqrt(scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / scores.length);
  expect(mean).toBeCloseTo(75, 10);
  expect(standardError(75, 5, 12)).toBeCloseTo(spread, 10);
  expect(standardError(75, 12, 12)).toBe(0);
});
