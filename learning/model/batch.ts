import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import { crossEntropy } from '../tensors/ops.ts';
import type { Answers, TokenBatch } from './model.ts';
import type { Positions } from './positions.ts';

/**
 * Everything of a batch that the computation reads, as tensors: the rest of a forward pass depends on nothing but these
 * and the weights. N = rows * length, M = image tokens.
 */
export type BatchTensors = {
  readonly rows: number;
  readonly length: number;
  /** [N] int32; 0 at image tokens, whose embedding is not used. */
  readonly ids: tf.Tensor1D;
  /** Position of every token, [N] int32 per axis: one axis, or time, height and width. 0 on padding. */
  readonly positions: readonly tf.Tensor1D[];
  /** [rows, 1, 1, length]: 1 for real tokens. */
  readonly keys: tf.Tensor4D;
  /** [rows, length]: 1 for real tokens before the first that carries a label; without labels, for all real ones. */
  readonly prompt: tf.Tensor2D;
  /** Null in a batch without images. `at` [M] int32: flat positions, N for fillers; `text` [N, 1]: 0 there, else 1. */
  readonly images: { readonly at: tf.Tensor1D; readonly text: tf.Tensor2D } | null;
};

/**
 * Where loss is taken: flat positions [T] of the states that predict, the tokens [T] they should predict, and what each
 * counts [T]: all the same and 1 in sum, but for entries that only fill up to a common size, which count nothing.
 */
export type Targets = {
  readonly at: tf.Tensor1D;
  readonly labels: tf.Tensor1D;
  readonly weights: tf.Tensor1D;
};

/** What a batch may hold for a given model. */
export interface BatchLimits {
  readonly imageToken: number;
  readonly vocabulary: number;
  readonly contextLength: number;
}

/**
 * Checks a batch and puts it into the engine. `BadConfig` when its sizes do not fit together, a token is unknown, a row
 * is too long, or the image tokens do not match the images.
 * @param imageTokens how many image tokens the features of its images make
 * @param positions of its tokens; asked for when all else fits
 * @param filled how many image tokens there are with fillers after them
 */
export function batchTensors(
  batch: TokenBatch,
  imageTokens: number,
  limits: BatchLimits,
  positions: () => Positions,
  filled = imageTokens,
): BatchTensors {
  const { rows, length, inputIds, attentionMask } = batch;
  const bad = (problem: string, next: string): never => {
    throw new LiloraError('BadConfig', `Batch of ${rows} × ${length} tokens: ${problem}. ${next}.`);
  };
  const size = rows * length;
  if (size === 0 || inputIds.length !== size || attentionMask.length !== size) {
    bad(`${inputIds.length} ids and ${attentionMask.length} mask entries`, 'Both must be rows * length');
  }
  const ids = inputIds.slice();
  const imageAt: number[] = [];
  const text = new Float32Array(size).fill(1);
  for (let row = 0; row < rows; row++) {
    let seen = 0;
    for (let at = row * length; at < (row + 1) * length; at++) {
      if (ids[at] === limits.imageToken) {
        imageAt.push(at);
        ids[at] = 0;
        text[at] = 0;
      } else if (ids[at]! < 0 || ids[at]! >= limits.vocabulary) {
        bad(`token ${ids[at]} in row ${row} is not in 0..${limits.vocabulary - 1}`, 'Use the tokenizer of this model');
      }
      if (attentionMask[at] !== 0 && attentionMask[at] !== 1) {
        bad(`mask entry ${attentionMask[at]} in row ${row}`, 'Use 1 for real tokens and 0 for padding');
      }
      if (attentionMask[at]) seen++;
    }
    if (seen === 0) bad(`row ${row} is all padding`, 'Leave the row out');
    if (seen > limits.contextLength) {
      bad(`row ${row} has ${seen} tokens and the model takes ${limits.contextLength}`, 'Shorten or drop the sample');
    }
  }
  if (imageAt.length !== imageTokens) {
    const problem = `${imageAt.length} image tokens, but its images make ${imageTokens}`;
    bad(problem, 'Expand every image marker to the features of its image');
  }
  return {
    rows,
    length,
    ids: tf.tensor1d(ids, 'int32'),
    positions: positions().axes.map((axis) => tf.tensor1d(axis, 'int32')),
    keys: tf.tensor4d(Float32Array.from(attentionMask), [rows, 1, 1, length]),
    prompt: tf.tensor2d(promptMask(batch), [rows, length]),
    images:
      imageAt.length > 0
        ? {
            at: tf.tensor1d([...imageAt, ...Array<number>(filled - imageTokens).fill(size)], 'int32'),
            text: tf.tensor2d(text, [size, 1]),
          }
        : null,
  };
}

/** [rows * length]: 1 for real tokens before the first that carries a label; without labels, for all real ones. */
export function promptMask({ rows, length, attentionMask, labels }: TokenBatch): Float32Array {
  const mask = Float32Array.from(attentionMask);
  for (let row = 0; labels && row < rows; row++) {
    const end = (row + 1) * length;
    const answer = labels.subarray(row * length, end).findIndex((label) => label !== -100);
    if (answer >= 0) mask.fill(0, row * length + answer, end);
  }
  return mask;
}

/** Flat positions of the states that predict a token with loss. */
export function placesWithLoss({ length, labels = new Int32Array() }: TokenBatch): number[] {
  const at: number[] = [];
  for (let i = 0; i < labels.length - 1; i++) if ((i + 1) % length !== 0 && labels[i + 1] !== -100) at.push(i);
  return at;
}

/**
 * The targets of a batch: position i of a row predicts token i + 1 unless its label is −100. Their number is rounded up,
 * so that batches share shapes and with them compiled steps.
 * @param places at least so many
 */
export function batchTargets(batch: TokenBatch, places = 0): Targets {
  const { rows, length, labels } = batch;
  if (labels?.length !== rows * length) {
    throw new LiloraError('BadConfig', `A loss over ${rows} × ${length} tokens needs as many labels. Add them.`);
  }
  const at = placesWithLoss(batch);
  if (at.length === 0) {
    throw new LiloraError('BadConfig', 'No token of this batch carries loss. Drop samples without an answer.');
  }
  const size = roundUp(Math.max(at.length, places), 2);
  const filled = <T extends Int32Array | Float32Array>(values: T, value: (i: number) => number): T => {
    for (const [k, i] of at.entries()) values[k] = value(i);
    return values;
  };
  return {
    at: tf.tensor1d(filled(new Int32Array(size), (i) => i)),
    labels: tf.tensor1d(filled(new Int32Array(size), (i) => labels[i + 1]!)),
    weights: tf.tensor1d(filled(new Float32Array(size), () => 1 / at.length)),
  };
}

/**
 * The next size on a ladder with so many steps between a number and its double: few different shapes, little padding
 * (at most 1 / steps of the size).
 */
export function roundUp(size: number, steps: number): number {
  const step = Math.max(1, 2 ** Math.floor(Math.log2(size)) / steps);
  return Math.ceil(size / step) * step;
}

/** Cross-entropy of the answers, each counted by its weight. */
export function lossOfAnswers({ logits, labels, weights }: Answers): tf.Scalar {
  return tf.sum(tf.mul(crossEntropy(logits, labels), weights));
}

/** Some consecutive rows as a batch of their own. Its pictures are those of its image tokens, in order. */
export function rowsOf(batch: TokenBatch, from: number, to: number, imageToken: number): TokenBatch {
  const { length, inputIds, attentionMask, labels, grids } = batch;
  const own = (values: Int32Array) => values.slice(from * length, to * length);
  const seen = imageTokensOf(inputIds.subarray(0, from * length), imageToken);
  const ids = own(inputIds);
  const end = seen + imageTokensOf(ids, imageToken);
  let at = 0;
  // A picture belongs to the rows in which its tokens lie.
  const ownGrids = grids?.filter(([height, width]) => {
    const begins = at;
    at += height * width;
    return begins >= seen && begins < end;
  });
  return {
    rows: to - from,
    length,
    inputIds: ids,
    attentionMask: own(attentionMask),
    ...(labels && { labels: own(labels) }),
    ...(ownGrids && { grids: ownGrids }),
  };
}

/** How many of these tokens stand for an image feature. */
export const imageTokensOf = (ids: Int32Array, imageToken: number): number =>
  ids.reduce((count, id) => count + Number(id === imageToken), 0);

/**
 * The same rows with all padding on the left, as wide as the longest row.
 * @param width another width, given the longest row's
 */
export function padLeft(
  { labels: _, ...batch }: TokenBatch,
  padToken: number,
  width = (longest: number) => longest,
): TokenBatch {
  const { rows, length, inputIds, attentionMask } = batch;
  const real = Array.from({ length: rows }, (_, row) => {
    const at = Array.from({ length }, (_, i) => row * length + i);
    return at.filter((i) => attentionMask[i]).map((i) => inputIds[i]!);
  });
  const longest = width(Math.max(...real.map((ids) => ids.length)));
  const ids = new Int32Array(rows * longest).fill(padToken);
  const mask = new Int32Array(rows * longest);
  for (const [row, tokens] of real.entries()) {
    ids.set(tokens, (row + 1) * longest - tokens.length);
    mask.fill(1, (row + 1) * longest - tokens.length, (row + 1) * longest);
  }
  return { ...batch, length: longest, inputIds: ids, attentionMask: mask };
}
