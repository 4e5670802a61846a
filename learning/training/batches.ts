import { LiloraError } from '../../core/errors.ts';
import type { EncodedSample } from '../../core/sample.ts';
import type { TokenBatch } from '../model/model.ts';

export interface PadOptions {
  /** Where padding stands. Right for training, left for generation. Default `right`. */
  readonly side?: 'left' | 'right';
  /** Length of the rows, given that of the longest: so that fewer different shapes occur. Default: the same. */
  readonly length?: (longest: number) => number;
}

/** Rows of different length as one rectangle. Labels are there when every sample has them; −100 on padding. */
export function padBatch(samples: readonly EncodedSample[], padToken: number, options: PadOptions = {}): TokenBatch {
  const { side = 'right' } = options;
  if (samples.length === 0) throw new LiloraError('BadConfig', 'A batch of no samples. Leave it out.');
  const rows = samples.length;
  const longest = Math.max(...samples.map(({ inputIds }) => inputIds.length));
  const length = options.length?.(longest) ?? longest;
  const inputIds = new Int32Array(rows * length).fill(padToken);
  const attentionMask = new Int32Array(rows * length);
  const labels = samples.every((sample) => sample.labels) ? new Int32Array(rows * length).fill(-100) : undefined;
  for (const [row, sample] of samples.entries()) {
    const at = side === 'right' ? row * length : (row + 1) * length - sample.inputIds.length;
    inputIds.set(sample.inputIds, at);
    attentionMask.fill(1, at, at + sample.inputIds.length);
    labels?.set(sample.labels!, at);
  }
  const grids = samples.flatMap((sample) => sample.grids ?? []);
  return { rows, length, inputIds, attentionMask, ...(labels && { labels }), ...(grids.length > 0 && { grids }) };
}

/** Tokens that carry loss. The first label of a row never does: nothing predicts it. */
export function lossTokens(sample: EncodedSample): number {
  let count = 0;
  for (let i = 1; i < (sample.labels?.length ?? 0); i++) if (sample.labels![i] !== -100) count++;
  return count;
}
