import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import { tensorsOf } from '../tensors/tree.ts';
import type { LayerCache } from './decoder.ts';
import { adjust, type Generation } from './generation.ts';
import type { Generated, TokenBatch } from './model.ts';
import type { Routes } from './rows.ts';

/** The most probable next token of every row (the first of equals), and its log-probability. */
type Next = {
  /** [rows] int32. */
  readonly ids: tf.Tensor1D;
  /** [rows]. */
  readonly logProbabilities: tf.Tensor1D;
  /** [rows, vocabulary], where the settings of the model change them before a token is chosen. */
  readonly logits?: tf.Tensor2D;
};

/** What the prompt's pass gives, and what holds for all later ones: its keys and values, and what adapters chose for its rows. */
export type PromptStep = { readonly next: Next; readonly prompt: readonly LayerCache[]; readonly routes: Routes };

/** What a later pass gives: `fresh` are keys and values of all tokens after the prompt. */
export type Step = { readonly next: Next; readonly fresh: readonly LayerCache[] };

/** What a later pass needs of the earlier ones. */
export type Past = Omit<PromptStep, 'next'> & Omit<Step, 'next'>;

export interface GreedyOptions {
  readonly rows: number;
  readonly maxNewTokens: number;
  readonly endTokens: readonly number[];
  /** Real tokens of every row in the prompt; rows stop when the context is full. */
  readonly lengths: readonly number[];
  readonly contextLength: number;
  /** The prompt. */
  prefill(): PromptStep;
  /** Room for the tokens after it. */
  room(prompt: readonly LayerCache[]): readonly LayerCache[];
  /** The next token of a row by its number in the prompt, where it is not just the most probable one. */
  choose?(row: number, answer: readonly number[], logits: Float32Array): Choice;
  /** One more token for some rows: their last tokens, their numbers in the prompt; the first step is 1. */
  next(ids: Int32Array, rows: readonly number[], past: Past, step: number): Step;
}

/** A token, and its log-probability as the model has it. */
type Choice = { readonly id: number; readonly logProbability: number };

/** From logits [rows, vocabulary]. @param keep the logits themselves are wanted too */
export function nextOf(logits: tf.Tensor2D, keep: boolean): Next {
  const ids = tf.argMax(logits, 1) as tf.Tensor1D;
  const logProbabilities = tf.max(tf.logSoftmax(logits), 1) as tf.Tensor1D;
  return { ids, logProbabilities, ...(keep && { logits }) };
}

/**
 * How a row's next token is chosen where the model comes with settings for it. Log-probabilities stay those of the model.
 * @param prompt padded
 */
export function chosenBy(
  settings: Generation,
  prompt: Pick<TokenBatch, 'inputIds' | 'attentionMask' | 'length'>,
  endTokens: readonly number[],
  maxNewTokens: number,
): NonNullable<GreedyOptions['choose']> {
  const real = (row: number) => {
    const mask = prompt.attentionMask.subarray(row * prompt.length, (row + 1) * prompt.length);
    return [...prompt.inputIds.subarray(row * prompt.length, (row + 1) * prompt.length)].filter((_, i) => mask[i]);
  };
  const prompts = new Map<number, number[]>();
  return (row, answer, logits) => {
    if (!prompts.has(row)) prompts.set(row, real(row));
    const scores = Float32Array.from(logits);
    adjust(scores, settings, { prompt: prompts.get(row)!, answer, maxNewTokens, endTokens });
    const id = scores.reduce((best, score, i) => (score > scores[best]! ? i : best), 0);
    const most = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const sum = logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0);
    return { id, logProbability: logits[id]! - most - Math.log(sum) };
  };
}

/** What the prompts of several lanes give, as that of one. */
export function together(steps: readonly PromptStep[]): PromptStep {
  const [first, ...others] = steps;
  if (others.length === 0) return first!;
  const joined = <T extends tf.Tensor>(of: (step: PromptStep) => T) => tf.concat(steps.map(of)) as T;
  return {
    next: {
      ids: joined(({ next }) => next.ids),
      logProbabilities: joined(({ next }) => next.logProbabilities),
      ...(first!.next.logits && { logits: joined(({ next }) => next.logits!) }),
    },
    prompt: first!.prompt.map((_, layer) => ({
      k: joined(({ prompt }) => prompt[layer]!.k),
      v: joined(({ prompt }) => prompt[layer]!.v),
    })),
    routes: Object.fromEntries(Object.keys(first!.routes).map((name) => [name, joined(({ routes }) => routes[name]!)])),
  };
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
  let { next, ...known } = options.prefill();
  let past: Past = { ...known, fresh: options.room(known.prompt) };
  try {
    for (let count = 1; ; count++) {
      const ids = Int32Array.from(next.ids.dataSync());
      const logProbabilities = Float32Array.from(next.logProbabilities.dataSync());
      const logits = next.logits?.dataSync() as Float32Array | undefined;
      const width = next.logits?.shape[1] ?? 0;
      for (const row of [...open]) {
        const at = rows.indexOf(row);
        const result = results[row]!;
        const chosen = logits && options.choose?.(row, result.ids, logits.subarray(at * width, (at + 1) * width));
        if (chosen) [ids[at], logProbabilities[at]] = [chosen.id, chosen.logProbability];
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
      if (kept) past = gathered(past, kept);
      const last = kept ? Int32Array.from(kept, (i) => ids[i]!) : ids;
      if (kept) rows = kept.map((i) => rows[i]!);
      const step = options.next(last, rows, past, count);
      tf.dispose(tensorsOf([next, past.fresh]));
      next = step.next;
      past = { ...past, fresh: step.fresh };
    }
  } finally {
    tf.dispose(tensorsOf([next, past]));
  }
}

/** Places of the open rows, filled up to a power of two by a repeated one; null while more than half of the rows are open. */
function keptRows(rows: readonly number[], open: ReadonlySet<number>): number[] | null {
  const size = 2 ** Math.ceil(Math.log2(open.size));
  if (size > rows.length / 2) return null;
  const places = [...open].map((row) => rows.indexOf(row));
  return Array.from({ length: size }, (_, i) => places[i] ?? places[0]!);
}

/** What is known of the rows that stay; frees the others. */
function gathered(past: Past, places: readonly number[]): Past {
  const at = tf.tensor1d([...places], 'int32');
  const cache = ({ k, v }: LayerCache): LayerCache => ({ k: tf.gather(k, at), v: tf.gather(v, at) });
  const routes = Object.entries(past.routes).map(([layer, route]) => [layer, tf.gather(route, at)] as const);
  const kept = { prompt: past.prompt.map(cache), fresh: past.fresh.map(cache), routes: Object.fromEntries(routes) };
  tf.dispose([at, ...tensorsOf(past)]);
  return kept;
}
