import * as tf from '@tensorflow/tfjs';
import { withGradient } from '../tensors/ops.ts';

/*
 * Choosing the largest of a few numbers as pure tensor arithmetic: it runs on every back end and can be recorded. What is
 * chosen carries no gradient; the numbers that were chosen by do, where they are used as weights.
 */

/**
 * One-hot rows of the k largest numbers of every row, in their order: scores [rows, n] → [rows, k, n]. The first of equals
 * comes first. No gradient.
 */
export function largest(scores: tf.Tensor2D, k: number): tf.Tensor3D {
  const [rows, n] = scores.shape;
  return withGradient([scores], (scores) => ({
    value: placesOf(scores as tf.Tensor2D, k),
    save: [],
    gradient: () => [tf.zeros([rows, n])],
  }));
}

/** 1 for the k largest numbers of every row, else 0: [rows, n] → [rows, n]. No gradient. */
export const amongLargest = (scores: tf.Tensor2D, k: number): tf.Tensor2D => tf.sum(largest(scores, k), 1);

/**
 * Weights of what was chosen, relative to their mean, so that equal ones are 1: chosen [rows, k, n] of positive scores
 * [rows, n] → [rows, k].
 */
export function relativeWeights(chosen: tf.Tensor3D, scores: tf.Tensor2D): tf.Tensor2D {
  const [rows, k, n] = chosen.shape;
  const own = tf.reshape(tf.matMul(chosen, tf.reshape(scores, [rows, n, 1])), [rows, k]);
  return tf.div(own, tf.mean(own, 1, true));
}

/** A number's place is the count of those that come before it. */
function placesOf(scores: tf.Tensor2D, k: number): tf.Tensor3D {
  const [rows, n] = scores.shape;
  const [mine, others] = [tf.reshape(scores, [rows, n, 1]), tf.reshape(scores, [rows, 1, n])];
  const index = tf.range(0, n, 1, 'int32');
  const earlier = tf.less(tf.reshape(index, [1, 1, n]), tf.reshape(index, [1, n, 1]));
  const before = tf.logicalOr(tf.greater(others, mine), tf.logicalAnd(tf.equal(others, mine), earlier));
  const place = tf.sum(tf.cast(before, 'int32'), 2);
  const wanted = tf.reshape(tf.range(0, k, 1, 'int32'), [1, k, 1]);
  return tf.cast(tf.equal(tf.reshape(tf.cast(place, 'int32'), [rows, 1, n]), wanted), 'float32') as tf.Tensor3D;
}
