import { expect, it } from 'vitest';
import { sampled, sampledPlaces } from './sample.ts';

it('the same samples stand for a split every time; all of it where there are no more', () => {
  const sample = { count: 40, seed: 7 };
  const places = sampledPlaces(200, sample);
  expect(places).toEqual(sampledPlaces(200, sample));
  expect([...places]).toEqual([...new Set(places)].sort((a, b) => a - b));
  expect(places).toHaveLength(40);
  expect(places).not.toEqual(sampledPlaces(200, { count: 40, seed: 8 }));
  const letters = ['a', 'b', 'c'];
  expect(sampled(letters, sample)).toEqual(letters);
  expect(sampled(letters, undefined)).toBe(letters);
});
