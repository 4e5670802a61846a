import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { startTensors } from '../tensors/backend.ts';
import { attention } from '../tensors/ops.ts';
import { patches, pictureAttention } from './encoder.ts';

beforeAll(() => startTensors('cpu'));

test('attention in parts of the queries is attention', () => {
  tf.tidy(() => {
    const [q, k, v] = [1, 2, 3].map((seed) => tf.randomNormal<tf.Rank.R4>([2, 3, 7, 4], 0, 1, 'float32', seed));
    const whole = attention(q!, k!, v!, null).arraySync();
    for (const most of [1, 2 * 3 * 7, 2 * 3 * 7 * 3, 2 * 3 * 7 * 7])
      expect(pictureAttention(q!, k!, v!, most).arraySync()).toEqual(whole);
  });
});

test('patches row by row, channel first; what is left at the edges is dropped', () => {
  tf.tidy(() => {
    const pixels = tf.reshape(tf.range(0, 2 * 3 * 5 * 7), [2, 3, 5, 7]) as tf.Tensor4D;
    const cut = patches(pixels, 2);
    expect(cut.shape).toEqual([2 * 2 * 3, 12]);
    const at = (image: number, channel: number, y: number, x: number) => ((image * 3 + channel) * 5 + y) * 7 + x;
    // The patch in the second row and third column of the second picture.
    const wanted = [0, 1, 2].flatMap((channel) => [
      at(1, channel, 2, 4),
      at(1, channel, 2, 5),
      at(1, channel, 3, 4),
      at(1, channel, 3, 5),
    ]);
    expect((cut.arraySync() as number[][])[11]).toEqual(wanted);
  });
});
