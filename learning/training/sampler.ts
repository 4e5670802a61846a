import type { Random } from './random.ts';

export interface SamplerOptions {
  /** Passes over the samples; the last one may be a part. */
  readonly epochs: number;
  readonly batchSize: number;
  /** Never drawn from, only split: the order depends on its state alone. */
  readonly random: Random;
  /**
   * Tokens of every sample: rows of like length then share a batch, which saves padding and makes the order less
   * random. Absent: no grouping.
   */
  readonly lengths?: readonly number[];
}

/** Steps over so many samples; at least one. */
export function stepsOf(count: number, { epochs, batchSize }: Pick<SamplerOptions, 'epochs' | 'batchSize'>): number {
  return Math.max(1, Math.round(Math.ceil(count / batchSize) * epochs));
}

/** Batches among which samples are grouped by length. */
const WINDOW = 50;

/**
 * Which samples belong to which step. Every epoch is a random order of its own that depends only on the random state given and the
 * number of the epoch, so the step number is the whole position. A batch never reaches into the next epoch: the last
 * one of an epoch may be smaller.
 */
export class Sampler {
  /** Steps in all; at least one. */
  readonly steps: number;
  private readonly count: number;
  private readonly options: SamplerOptions;
  private readonly perEpoch: number;
  private current: { epoch: number; batches: Int32Array[] } | null = null;

  constructor(count: number, options: SamplerOptions) {
    this.count = count;
    this.options = options;
    this.perEpoch = Math.ceil(count / options.batchSize);
    this.steps = stepsOf(count, options);
  }

  /** The samples of step `step`, counted from 0, as indices. Steps beyond `steps` go on with further epochs. */
  batch(step: number): Int32Array {
    const epoch = Math.floor(step / this.perEpoch);
    if (this.current?.epoch !== epoch) this.current = { epoch, batches: this.epoch(epoch) };
    return this.current.batches[step % this.perEpoch]!;
  }

  private epoch(epoch: number): Int32Array[] {
    const { batchSize, lengths } = this.options;
    const random = this.options.random.split(`epoch ${epoch}`);
    const order = random.permutation(this.count);
    if (!lengths) return chunks(order, batchSize);
    const batches = chunks(order, batchSize * WINDOW).flatMap((window) =>
      chunks(
        window.sort((a, b) => lengths[a]! - lengths[b]!),
        batchSize,
      ),
    );
    return Array.from(random.permutation(batches.length), (i) => batches[i]!);
  }
}

function chunks(order: Int32Array, size: number): Int32Array[] {
  const count = Math.ceil(order.length / size);
  return Array.from({ length: count }, (_, i) => order.slice(i * size, (i + 1) * size));
}
