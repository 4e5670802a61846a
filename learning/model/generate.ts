import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import type { LayerCache } from './decoder.ts';
import type { Generated } from './model.ts';
import type { Routes } from './rows.ts';

/** What one pass gives: the most probable next token of every row (the first of equals), its log-probability, and the cache. */
export type Step = {
  /** [rows] int32. */
  readonly ids: tf.Tensor1D;
  /** [rows]. */
  readonly logProbabilities: tf.Tensor1D;
  readonly cache: readonly LayerCache[];
};

/** What the prompt gives besides: what adapters chose for its rows, which holds for all of their tokens. */
export type PromptStep = Step & { readonly routes: Routes };

/** What a later pass needs of the earlier ones. */
type Past = { readonly cache: readonly LayerCache[]; readonly routes: Routes };

export interface GreedyOptions {
  readonly rows: number;
  readonly maxNewTokens: number;
  readonly endTokens: readonly number[];
  /** Real tokens of every row in the prompt; rows stop when the context is full. */
  readonly lengths: readonly number[];
  readonly contextLength: number;
  /** The prompt. */
  prefill(): PromptStep;
  /** One more token for the rows of the cache: their last tokens, their numbers in the prompt; the first step is 1. */
  next(ids: Int32Array, rows: readonly number[], past: Past, step: number): Step;
}

/** The state of a step from its logits [rows, vocabulary]. */
export function stepOf(logits: tf.Tensor2D, cache: readonly LayerCache[]): Step {
  const ids = tf.argMax(logits, 1) as tf.Tensor1D;
  return { ids, logProbabilities: tf.max(tf.logSoftmax(logits), 1) as tf.Tensor1D, cache };
}

/**
 * Greedy decoding: the most probable token every time, until an end token. When half of the rows have ended, the others
 * go on alone: a long answer does not make the short ones compute on, and shapes change rarely.
 */
export function greedy(options: GreedyOptions): Generated[] {
  const results = Array.from({ length: options.rows }, () => ({
    ids: [] as number[],
    logProbabilities: [] as number[],
  }));
  const room = (row: number) => Math.min(options.maxNewTokens, options.contextLength - options.lengths[row]!);
  const open = new Set(results.keys());
  let rows = [...results.keys()];
  if (options.maxNewTokens <= 0) return results;
  const prompt = options.prefill();
  let step: Step = prompt;
  let routes = prompt.routes;
  try {
    for (let count = 1; ; count++) {
      const ids = step.ids.dataSync() as Int32Array;
      const logProbabilities = step.logProbabilities.dataSync();
      for (const row of [...open]) {
        const at = rows.indexOf(row);
        const result = results[row]!;
        if (result.ids.length < room(row)) {
          if (!Number.isFinite(logProbabilities[at])) {
            const problem = `the logits of row ${row} are not finite at new token ${count}`;
            throw new LiloraError('NonFiniteLoss', `Generation: ${problem}. Check the weights of model and adapter.`);
          }
          result.ids.push(ids[at]!);
          result.logProbabilities.push(logProbabilities[at]!);
        }
        if (result.ids.length >= room(row) || options.endTokens.includes(result.ids.at(-1)!)) open.delete(row);
      }
      if (open.size === 0) return results;
      const kept = keptRows(rows, open);
      const previous = step;
      const cache = kept ? gatherCache(previous.cache, kept) : previous.cache;
      if (kept) routes = gatherRoutes(routes, kept);
      const last = kept ? Int32Array.from(kept, (i) => ids[i]!) : ids;
      if (kept) rows = kept.map((i) => rows[i]!);
      step = options.next(last, rows, { cache, routes }, count);
      disposeStep(previous);
      if (kept) disposeCache(cache);
    }
  } finally {
    disposeStep(step);
    tf.dispose(Object.values(routes));
  }
}

/** Places of the open rows, filled up to a power of two by a repeated one; null while more than half of the rows are open. */
function keptRows(rows: readonly number[], open: ReadonlySet<number>): number[] | null {
  const size = 2 ** Math.ceil(Math.log2(open.size));
  if (size > rows.length / 2) return null;
  const places = [...open].map((row) => rows.indexOf(row));
  return Array.from({ length: size }, (_, i) => places[i] ?? places[0]!);
}

function gatherCache(cache: readonly LayerCache[], places: readonly number[]): LayerCache[] {
  const at = tf.tensor1d([...places], 'int32');
  const kept = cache.map(({ k, v }) => ({ k: tf.gather(k, at), v: tf.gather(v, at) }));
  at.dispose();
  return kept;
}

/** Routes of the rows that stay; frees the others. */
function gatherRoutes(routes: Routes, places: readonly number[]): Routes {
  const at = tf.tensor1d([...places], 'int32');
  const kept = Object.fromEntries(Object.entries(routes).map(([layer, route]) => [layer, tf.gather(route, at)]));
  tf.dispose([at, ...Object.values(routes)]);
  return kept;
}

function disposeCache(cache: readonly LayerCache[]): void {
  tf.dispose(cache.flatMap(({ k, v }) => [k, v]));
}

function disposeStep({ ids, logProbabilities, cache }: Step): void {
  tf.dispose([ids, logProbabilities]);
  disposeCache(cache);
}
