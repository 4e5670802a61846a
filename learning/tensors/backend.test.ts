import { expect, test } from 'vitest';
import { laneParts, lanes, startTensors } from './backend.ts';

test('a batch is cut into as many parts as there are threads, up to four, on the engine that computes graphs', async () => {
  await startTensors('tensorflow', { threads: 3 });
  expect(lanes()).toBe(3);
  expect(process.env['TF_NUM_INTEROP_THREADS']).toBe('3');
  expect(process.env['TF_NUM_INTRAOP_THREADS']).toBe('1');
  expect(laneParts([1, 2, 3, 4, 5])).toEqual([[1, 2], [3, 4], [5]]);
  expect(laneParts([1])).toEqual([[1]]);
  await startTensors('cpu');
  expect(laneParts([1, 2])).toEqual([[1, 2]]);
});
