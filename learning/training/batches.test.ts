import { expect, test } from 'vitest';
import type { EncodedSample } from '../../core/sample.ts';
import { lossTokens, padBatch } from './batches.ts';

const sample = (ids: number[], labels: number[] | null): EncodedSample => ({
  id: ids.join('-'),
  inputIds: Int32Array.from(ids),
  labels: labels && Int32Array.from(labels),
  images: [],
  references: [],
});
const long = sample([5, 6, 7], [-100, 6, 7]);
const short = sample([8], [8]);

test('right padding for training', () => {
  const batch = padBatch([long, short], 9);
  expect(batch).toEqual({
    rows: 2,
    length: 3,
    inputIds: Int32Array.of(5, 6, 7, 8, 9, 9),
    attentionMask: Int32Array.of(1, 1, 1, 1, 0, 0),
    labels: Int32Array.of(-100, 6, 7, 8, -100, -100),
  });
});

test('left padding, no labels for generation, and a length of choice', () => {
  const batch = padBatch([long, sample([8], null)], 9, { side: 'left', length: (longest) => longest + 1 });
  expect(batch).toEqual({
    rows: 2,
    length: 4,
    inputIds: Int32Array.of(9, 5, 6, 7, 9, 9, 9, 8),
    attentionMask: Int32Array.of(0, 1, 1, 1, 0, 0, 0, 1),
  });
});

test('the first token of a row carries no loss', () => {
  expect([lossTokens(long), lossTokens(short), lossTokens(sample([1, 2], null))]).toEqual([2, 0, 0]);
});
