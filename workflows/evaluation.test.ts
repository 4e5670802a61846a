import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planShards } from './evaluation.ts';

const settings = { batchSize: 50, shardSamples: 500 };

describe('planShards', () => {
  it.each([
    [1, [[0, 1]]],
    [500, [[0, 10]]],
    [
      501,
      [
        [0, 5],
        [5, 11],
      ],
    ],
    [
      1250,
      [
        [0, 8],
        [8, 16],
        [16, 25],
      ],
    ],
  ])('cuts %d samples between batches', (samples, wanted) => {
    expect(planShards(samples, settings).map(({ from, to }) => [from, to])).toEqual(wanted);
  });

  it('leaves in one what older versions stored, and what has no more than one batch', () => {
    expect(planShards(undefined, settings)).toHaveLength(1);
    expect(planShards(90_000, { batchSize: 50 })).toEqual([{ from: 0, to: 1800 }]);
    expect(planShards(40, { batchSize: 50, shardSamples: 1 })).toEqual([{ from: 0, to: 1 }]);
  });

  it('covers every batch once, with shards that differ by a batch at most and are no more than allowed', () => {
    const number = fc.integer({ min: 1, max: 5000 });
    const property = fc.property(
      number,
      number,
      number,
      fc.integer({ min: 1, max: 100 }),
      (samples, batchSize, shardSamples, most) => {
        const shards = planShards(samples, { batchSize, shardSamples }, most);
        expect(shards.length).toBeLessThanOrEqual(most);
        expect(shards.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i))).toEqual(
          Array.from({ length: Math.ceil(samples / batchSize) }, (_, i) => i),
        );
        const sizes = shards.map(({ from, to }) => to - from);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      },
    );
    fc.assert(property, { seed: 1 });
  });
});
