import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import type { LayerCache } from './decoder.ts';
import type { Generated } from './model.ts';

/** The state between two steps: logits of the newest token of every live row, and the cache of all layers. */
export interface Step {
  /** [live rows, vocabulary]. */
  readonly logits: tf.Tensor2D;
  readonly cache: readonly LayerCache[];
}

export interface GreedyOptions {
  readonly rows: number;
  readonly maxNewTokens: number;
  readonly endTokens: readonly number[];
  /** Real tokens of every row in the prompt; rows stop when the context is full. */
  readonly lengths: readonly number[];
  readonly contextLength: number;
  /** The prompt: logits at the last token of every row. */
  prefill(): Step;
  /** One more token per live row: ids and row numbers in the prompt, in the order of the cache; the first step is 1. */
  next(ids: number[], rows: number[], cache: readonly LayerCache[], step: number): Step;
}

/**
 * Greedy decoding: the most probable token every time (the first of equals), until an end token. Rows that ended leave
 * the batch, so a long answer does not make the short ones compute on.
 */
export function greedy(options: GreedyOptions): Generated[] {
  const results = Array.from({ length: options.rows }, () => ({
    ids: [] as number[],
    logProbabilities: [] as number[],
  }));
  const room = (row: number) => Math.min(options.maxNewTokens, options.contextLength - options.lengths[row]!);
  let live = results.map((_, row) => row);
  if (options.maxNewTokens <= 0) return results;
  let step = tidyStep(() => options.prefill());
  try {
    for (let count = 1; ; count++) {
      const chosen = best(step.logits);
      for (const [i, row] of live.entries()) {
        if (results[row]!.ids.length >= room(row)) continue;
        if (!Number.isFinite(chosen.logProbabilities[i])) {
          const problem = `the logits of row ${row} are not finite at new token ${count}`;
          throw new LiloraError('NonFiniteLoss', `Generation: ${problem}. Check the weights of model and adapter.`);
        }
        results[row]!.ids.push(chosen.ids[i]!);
        results[row]!.logProbabilities.push(chosen.logProbabilities[i]!);
      }
      const kept = [...live.keys()].filter((i) => {
        const { ids } = results[live[i]!]!;
        return ids.length < room(live[i]!) && !options.endTokens.includes(ids.at(-1)!);
      });
      if (kept.length === 0) return results;
      const rows = kept.map((i) => live[i]!);
      const previous = step;
      step = tidyStep(() => {
        const cache = kept.length < live.length ? keepRows(previous.cache, kept) : previous.cache;
        const ids = kept.map((i) => chosen.ids[i]!);
        return options.next(ids, rows, cache, count);
      });
      tf.dispose(previous as unknown as tf.TensorContainer);
      live = rows;
    }
  } finally {
    tf.dispose(step as unknown as tf.TensorContainer);
  }
}

/** `tf.tidy` for a step, whose type it does not know how to walk. */
function tidyStep(compute: () => Step): Step {
  return tf.tidy(() => compute() as unknown as tf.TensorContainer) as unknown as Step;
}

function best(logits: tf.Tensor2D): { ids: Int32Array; logProbabilities: Float32Array } {
  return tf.tidy(() => ({
    ids: tf.argMax(logits, 1).dataSync() as Int32Array,
    logProbabilities: tf.max(tf.logSoftmax(logits), 1).dataSync() as Float32Array,
  }));
}

function keepRows(cache: readonly LayerCache[], rows: number[]): LayerCache[] {
  const at = tf.tensor1d(rows, 'int32');
  return cache.map(({ k, v }) => ({ k: tf.gather(k, at), v: tf.gather(v, at) }));
}
