import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import type { TensorMap } from '../../core/host-tensor.ts';
import { Flat } from './flat.ts';

export interface AdamWOptions {
  /** Decoupled decay: every step takes learningRate · weightDecay of each number away. Default 0. */
  readonly weightDecay?: number;
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Added to the root of the corrected second moment, as in PyTorch. Default 1e-8. */
  readonly epsilon?: number;
  /** Factor on the learning rate of one tensor. Default 1 for all. */
  readonly multiplier?: (key: string) => number;
}

/** Everything that a later step depends on. */
export interface AdamWState {
  /** Steps done. */
  readonly step: number;
  readonly weights: TensorMap;
  /** Running means of the gradient and of its square. */
  readonly first: TensorMap;
  readonly second: TensorMap;
}

/** The same in the engine, each tensor [flat.size]. */
export type Moments = { readonly weights: tf.Tensor1D; readonly first: tf.Tensor1D; readonly second: tf.Tensor1D };

/** What differs from step to step, as scalars: lr / (1 − β1ᵗ), 1 / √(1 − β2ᵗ) and lr · wd. */
export type Rates = { readonly rate: tf.Scalar; readonly root: tf.Scalar; readonly decay: tf.Scalar };

/**
 * AdamW (Loshchilov & Hutter 2019) with bias correction, in the order of operations of PyTorch:
 * p ← p (1 − lr·wd);  m ← β1 m + (1−β1) g;  v ← β2 v + (1−β2) g²;  p ← p − lr/(1−β1ᵗ) · m / (√v / √(1−β2ᵗ) + ε).
 * It owns weights and moments, each as one flat vector. A step has two halves: `next` computes, a pure function fit for
 * `Compiled`, and `accept` takes the result over.
 */
export class AdamW {
  /** The place of every tensor in the vectors. */
  readonly flat: Flat;
  private readonly options: Required<Omit<AdamWOptions, 'multiplier'>>;
  private readonly multiplier: tf.Tensor1D | null;
  private steps = 0;
  private held: Moments;

  /** @param start the weights; they are copied */
  constructor(start: ReadonlyMap<string, tf.Tensor>, options: AdamWOptions = {}) {
    const { weightDecay = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, multiplier } = options;
    this.options = { weightDecay, beta1, beta2, epsilon };
    this.flat = new Flat(start);
    const factors = multiplier ? this.flat.fill(multiplier) : null;
    this.multiplier = factors?.some((factor) => factor !== 1) ? tf.tensor1d(factors) : null;
    const { size } = this.flat;
    this.held = { weights: this.flat.join((key) => start.get(key)), first: tf.zeros([size]), second: tf.zeros([size]) };
  }

  /** Steps done. */
  get step(): number {
    return this.steps;
  }

  /** Weights and moments as they are now. */
  get moments(): Moments {
    return this.held;
  }

  /** The scalars of the coming step; the caller disposes of them. */
  rates(learningRate: number): Rates {
    const { weightDecay, beta1, beta2 } = this.options;
    const step = this.steps + 1;
    return {
      rate: tf.scalar(learningRate / (1 - beta1 ** step)),
      root: tf.scalar(1 / Math.sqrt(1 - beta2 ** step)),
      decay: tf.scalar(learningRate * weightDecay),
    };
  }

  /**
   * The moments after one more step.
   * @param gradient of all weights, [flat.size]: see `flat.join`
   */
  next(moments: Moments, gradient: tf.Tensor1D, { rate, root, decay }: Rates): Moments {
    const { weightDecay, beta1, beta2, epsilon } = this.options;
    const first = tf.add(tf.mul(moments.first, beta1), tf.mul(gradient, 1 - beta1)) as tf.Tensor1D;
    const second = tf.add(tf.mul(moments.second, beta2), tf.mul(tf.square(gradient), 1 - beta2)) as tf.Tensor1D;
    const direction = tf.div(first, tf.add(tf.mul(tf.sqrt(second), root), epsilon));
    const by = (factor: tf.Scalar) => (this.multiplier ? tf.mul(this.multiplier, factor) : factor);
    const kept = weightDecay ? tf.mul(moments.weights, tf.sub(1, by(decay))) : moments.weights;
    return { weights: tf.sub(kept, tf.mul(direction, by(rate))) as tf.Tensor1D, first, second };
  }

  /** Takes over what `next` gave, and disposes of what was before. */
  accept(moments: Moments): void {
    this.replace(moments, this.steps + 1);
  }

  /** A copy on the host. */
  state(): AdamWState {
    const { weights, first, second } = this.held;
    const copy = (vector: tf.Tensor1D) => this.flat.toHost(vector);
    return { step: this.steps, weights: copy(weights), first: copy(first), second: copy(second) };
  }

  /** Goes on exactly where `state` was taken. `BadConfig` when names or shapes differ. */
  restore({ step, ...state }: AdamWState): void {
    const vectors = [state.weights, state.first, state.second].map((tensors) => this.flat.fromHost(tensors));
    const [weights, first, second] = vectors;
    if (!weights || !first || !second) {
      tf.dispose(vectors.filter((vector) => vector !== null));
      const problem = 'The optimizer state holds other tensors than this training';
      throw new LiloraError('BadConfig', `${problem}. Delete the checkpoint to start the task anew.`);
    }
    this.replace({ weights, first, second }, step);
  }

  dispose(): void {
    tf.dispose([...Object.values(this.held), ...(this.multiplier ? [this.multiplier] : [])]);
  }

  private replace(moments: Moments, steps: number): void {
    tf.dispose(Object.values(this.held));
    this.held = moments;
    this.steps = steps;
  }
}
