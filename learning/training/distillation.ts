import * as tf from '@tensorflow/tfjs';
import type { Teacher } from '../methods/method.ts';
import type { Answers } from '../model/model.ts';
import { withGradient } from '../tensors/ops.ts';

/**
 * weight · T² · Σ w · KL(softmax(taught / T) ‖ softmax(logits / T)): how far answers [n, vocabulary] are from the teacher's,
 * at temperature T (Hinton et al. 2015, arXiv 1503.02531), over the places that carry loss. T² keeps the size of its
 * gradient from depending on T: weight · T · w · (softmax(logits / T) − softmax(taught / T)).
 */
export function distillation(
  { logits, weights }: Answers,
  taught: tf.Tensor2D,
  { temperature, weight }: Pick<Teacher, 'temperature' | 'weight'>,
): tf.Scalar {
  return withGradient([logits], (z) => {
    const softened = (x: tf.Tensor) => tf.logSoftmax(tf.div(x, temperature));
    const [own, goal] = [softened(z), softened(taught)];
    const p = tf.exp(goal);
    const divergence = tf.sum(tf.mul(p, tf.sub(goal, own)), 1);
    const value = tf.mul(tf.sum(tf.mul(divergence, weights)), weight * temperature ** 2) as tf.Scalar;
    const slope = tf.mul(tf.sub(tf.exp(own), p), tf.expandDims(tf.mul(weights, weight * temperature), 1));
    return { value, save: [slope], gradient: (dy, [slope]) => [tf.mul(slope!, dy)] };
  });
}
