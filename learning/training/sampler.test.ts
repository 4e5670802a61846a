import { expect, test } from 'vitest';
import { Random } from './random.ts';
import { Sampler } from './sampler.ts';

const all = (sampler: Sampler) => Array.from({ length: sampler.steps }, (_, step) => [...sampler.batch(step)]);
const options = { epochs: 2, batchSize: 4, random: new Random(7) };

test('every epoch holds every sample once, in an order of its own', () => {
  const sampler = new Sampler(10, options);
  expect(sampler.steps).toBe(6);
  const batches = all(sampler);
  expect(batches.map((batch) => batch.length)).toEqual([4, 4, 2, 4, 4, 2]);
  const [first, second] = [batches.slice(0, 3).flat(), batches.slice(3).flat()];
  for (const epoch of [first, second]) expect([...epoch].sort((a, b) => a - b)).toEqual([...Array(10).keys()]);
  expect(first).not.toEqual(second);
});

test('the step number is the whole position', () => {
  const wanted = all(new Sampler(10, options));
  for (const step of [5, 0, 3]) expect([...new Sampler(10, options).batch(step)]).toEqual(wanted[step]);
  const other = all(new Sampler(10, { ...options, random: new Random(8) }));
  expect(other).not.toEqual(wanted);
});

test('a part of an epoch, and never no step', () => {
  expect(new Sampler(100, { ...options, epochs: 0.3 }).steps).toBe(8);
  expect(new Sampler(3, { ...options, epochs: 0.01 }).steps).toBe(1);
});

test('rows of like length share a batch when asked for', () => {
  const lengths = Array.from({ length: 40 }, (_, i) => (i * 7) % 40);
  const batches = all(new Sampler(40, { ...options, epochs: 1, lengths }));
  expect(batches.flat().sort((a, b) => a - b)).toEqual([...Array(40).keys()]);
  for (const batch of batches) {
    const own = batch.map((i) => lengths[i]!);
    expect(Math.max(...own) - Math.min(...own)).toBe(3);
  }
});

test.each([
  // Of a picture of 576 tokens and an answer of a few words or a paragraph; and of conversations without a picture.
  { what: 'a picture and an answer', base: 600, median: 60, deviation: 1.2, random: 0.2 },
  { what: 'conversations', base: 30, median: 150, deviation: 0.9, random: 0.5 },
])('padding stays below a tenth on lengths as answers have them: $what', ({ base, median, deviation, random }) => {
  const draw = new Random(3);
  // Lengths of texts are about log-normal; the context ends them.
  const lengths = Array.from({ length: 5000 }, () =>
    Math.min(2048, Math.round(base + median * Math.exp(deviation * draw.normal()))),
  );
  const padding = (given: object) => {
    let [real, computed] = [0, 0];
    for (const batch of all(new Sampler(lengths.length, { ...options, epochs: 1, batchSize: 16, ...given }))) {
      const own = batch.map((i) => lengths[i]!);
      real += own.reduce((a, b) => a + b, 0);
      computed += own.length * Math.max(...own);
    }
    return 1 - real / computed;
  };
  expect(padding({})).toBeGreaterThan(random);
  expect(padding({ lengths })).toBeLessThan(0.1);
});
