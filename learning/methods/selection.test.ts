import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, it } from 'vitest';
import { startTensors } from '../tensors/backend.ts';
import { amongLargest, largest, relativeWeights } from './selection.ts';

beforeAll(async () => void (await startTensors('tensorflow')));

const scores = [
  [0.1, 0.7, 0.2, 0.7],
  [0.4, 0.3, 0.2, 0.1],
];

it('chooses the largest in their order, the first of equals first', () => {
  const chosen = largest(tf.tensor2d(scores), 3).arraySync();
  const places = chosen.map((rows) => rows.map((row) => row.indexOf(1)));
  expect(places).toEqual([
    [1, 3, 2],
    [0, 1, 2],
  ]);
  expect(chosen.flat().every((row) => row.reduce((a, b) => a + b) === 1)).toBe(true);
  expect(amongLargest(tf.tensor2d(scores), 2).arraySync()).toEqual([
    [0, 1, 0, 1],
    [1, 1, 0, 0],
  ]);
});

it('weighs what was chosen relative to its mean; gradients reach the scores through the weights alone', () => {
  const weights = (x: tf.Tensor) => relativeWeights(largest(x as tf.Tensor2D, 2), x as tf.Tensor2D);
  const [first, second] = weights(tf.tensor2d(scores)).arraySync();
  expect(first).toEqual([1, 1]);
  expect(second![0]).toBeCloseTo(0.4 / 0.35, 6);
  expect(second![1]).toBeCloseTo(0.3 / 0.35, 6);
  const gradient = tf
    .grad((x) => tf.slice(weights(x), [1, 0], [1, 1]))(tf.tensor2d(scores))
    .arraySync() as number[][];
  // w0 = 2a / (a + b): dw0/da = 2b / (a + b)², dw0/db = −2a / (a + b)².
  expect(gradient[1]![0]).toBeCloseTo(0.6 / 0.49, 5);
  expect(gradient[1]![1]).toBeCloseTo(-0.8 / 0.49, 5);
  expect([...gradient[0]!, ...gradient[1]!.slice(2)]).toEqual([0, 0, 0, 0, 0, 0]);
});
