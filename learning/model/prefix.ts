import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import type { DecoderConfig } from './decoder.ts';
import { type RopeTables, turnsAt } from './rope.ts';

/*
 * Learned states before every row (prompt tuning, Lester et al. 2021, arXiv 2104.08691). Tokens keep the positions they have
 * without it, and the n states take those before: −n … −1. Rotary positions count as differences alone, so this computes
 * what states at 0 … n − 1 and tokens after them would, and no row grows out of the context.
 */

/** `BadConfig` where what comes before a row would not be seen from all of it. */
export function checkPrefix(prefix: tf.Tensor2D, { width, windows, contextLength }: DecoderConfig): void {
  const [count, size] = prefix.shape;
  const bad = (problem: string, next: string) => new LiloraError('BadConfig', `A learned prompt ${problem}. ${next}.`);
  if (size !== width) throw bad(`of width ${size} meets a model of width ${width}`, 'Use the model it was learned on');
  if (windows?.some((window) => window !== null))
    throw bad('needs layers that look at all tokens, and some here look back a few only', 'Leave the prompt out');
  if (count >= contextLength)
    throw bad(`of ${count} states meets a context of ${contextLength}`, 'Choose fewer promptTokens');
}

/** States of rows, [rows · length, width], with the prefix [n, width] before each row: [rows · (n + length), width]. */
export function prefixed(states: tf.Tensor2D, prefix: tf.Tensor2D, rows: number): tf.Tensor2D {
  const [count, width] = prefix.shape;
  const own = tf.add(tf.zeros([rows, 1, 1]), tf.reshape(prefix, [1, count, width]));
  return tf.reshape(tf.concat([own, tf.reshape(states, [rows, -1, width])], 1), [-1, width]);
}

/** The opposite: states of the tokens alone. */
export function withoutPrefix(states: tf.Tensor2D, count: number, rows: number): tf.Tensor2D {
  const width = states.shape[1];
  const whole = tf.reshape(states, [rows, -1, width]) as tf.Tensor3D;
  return tf.reshape(tf.slice(whole, [0, count, 0], [rows, whole.shape[1] - count, width]), [-1, width]);
}

/** Which keys are real, [rows, 1, 1, keys], with those of the prefix before them. */
export const keysAfter = (keys: tf.Tensor4D, count: number): tf.Tensor4D =>
  tf.concat([tf.ones([keys.shape[0], 1, 1, count]), keys], 3);

/** Flat places in rows of `length` as places in rows that are longer by the prefix. */
export function placesAfter(places: tf.Tensor1D, length: number, count: number): tf.Tensor1D {
  const row = tf.floorDiv(places, tf.scalar(length, 'int32'));
  return tf.add(places, tf.mul(tf.add(row, tf.scalar(1, 'int32')), tf.scalar(count, 'int32')));
}

/** What a pass reads of rows of tokens, as `BatchTensors` has it, with their cosines and sines [rows, 1, length, headSize]. */
interface RowTensors {
  readonly length: number;
  readonly keys: tf.Tensor4D;
  readonly prompt: tf.Tensor2D;
  readonly cos: tf.Tensor;
  readonly sin: tf.Tensor;
}

/** The same of rows that have so many states before them. */
export function afterPrefix(tokens: RowTensors, count: number, { cos, sin }: RopeTables): RowTensors {
  const { length, keys, prompt } = tokens;
  const [rows, , , headSize] = tokens.cos.shape as [number, number, number, number];
  const back = tf.range(count, 0, -1, 'int32');
  const turns = (before: tf.Tensor, own: tf.Tensor) =>
    tf.concat([tf.add(tf.zeros([rows, 1, 1, 1]), tf.reshape(before, [1, 1, count, headSize])), own], 2);
  return {
    length: count + length,
    keys: keysAfter(keys, count),
    prompt: tf.concat([tf.zeros([rows, count]), prompt], 1) as tf.Tensor2D,
    // A turn back has the same cosine and the opposite sine.
    cos: turns(turnsAt(cos, [back]), tokens.cos),
    sin: turns(tf.neg(turnsAt(sin, [back])), tokens.sin),
  };
}
