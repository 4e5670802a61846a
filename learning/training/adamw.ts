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

/**
 * AdamW (Loshchilov & Hutter 2019) with bias correction, in the order of operations of PyTorch:
 * p ← p (1 − lr·wd);  m ← β1 m + (1−β1) g;  v ← β2 v + (1−β2) g²;  p ← p − lr/(1−β1ᵗ) · m / (√v / √(1−β2ᵗ) + ε).
 * It owns the moments and a flat copy of the weights, not the variables.
 */
export class AdamW {
  /** The place of every tensor in the vectors that `apply` takes. */
  readonly flat: Flat;
  private readonly variables: ReadonlyMap<string, tf.Variable>;
  private readonly options: Required<Omit<AdamWOptions, 'multiplier'>>;
  private readonly multiplier: tf.Tensor1D | null;
  private steps = 0;
  private weights: tf.Tensor1D;
  private first: tf.Tensor1D;
  private second: tf.Tensor1D;

  constructor(variables: ReadonlyMap<string, tf.Variable>, options: AdamWOptions = {}) {
    const { weightDecay = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, multiplier } = options;
    this.variables = variables;
    this.options = { weightDecay, beta1, beta2, epsilon };
    this.flat = new Flat(variables);
    const factors = multiplier ? this.flat.fill(multiplier) : null;
    this.multiplier = factors?.some((factor) => factor !== 1) ? tf.tensor1d(factors) : null;
    this.weights = this.flat.join((key) => variables.get(key));
    this.first = tf.zeros([this.flat.size]);
    this.second = tf.zeros([this.flat.size]);
  }

  /** Steps done. */
  get step(): number {
    return this.steps;
  }

  /**
   * One step. The caller keeps the gradient.
   * @param gradient of all variables, [flat.size]: see `flat.join`
   * @param scale factor on the gradient, for clipping
   */
  apply(gradient: tf.Tensor1D, learningRate: number, scale = 1): void {
    const { weightDecay, beta1, beta2, epsilon } = this.options;
    this.steps++;
    const rate = learningRate / (1 - beta1 ** this.steps);
    const root = 1 / Math.sqrt(1 - beta2 ** this.steps);
    const [weights, first, second] = tf.tidy(() => {
      const g = scale === 1 ? gradient : tf.mul(gradient, scale);
      const first = tf.add(tf.mul(this.first, beta1), tf.mul(g, 1 - beta1)) as tf.Tensor1D;
      const second = tf.add(tf.mul(this.second, beta2), tf.mul(tf.square(g), 1 - beta2)) as tf.Tensor1D;
      const direction = tf.div(first, tf.add(tf.mul(tf.sqrt(second), root), epsilon));
      const by = (factor: number) => (this.multiplier ? tf.mul(this.multiplier, factor) : tf.scalar(factor));
      const kept = weightDecay ? tf.mul(this.weights, tf.sub(1, by(learningRate * weightDecay))) : this.weights;
      return [tf.sub(kept, tf.mul(direction, by(rate))) as tf.Tensor1D, first, second];
    });
    this.replace(weights, first, second);
  }

  /** A copy on the host. */
  state(): AdamWState {
    return {
      step: this.steps,
      weights: this.flat.toHost(this.weights),
      first: this.flat.toHost(this.first),
      second: this.flat.toHost(this.second),
    };
  }

  /** Goes on exactly where `state` was taken; sets the variables too. `BadConfig` when names or shapes differ. */
  restore({ step, ...state }: AdamWState): void {
    const vectors = [state.weights, state.first, state.second].map((tensors) => this.flat.fromHost(tensors));
    const [weights, first, second] = vectors;
    if (!weights || !first || !second) {
      tf.dispose(vectors.filter((vector) => vector !== null));
      const problem = 'The optimizer state holds other tensors than this training';
      throw new LiloraError('BadConfig', `${problem}. Delete the checkpoint to start the task anew.`);
    }
    this.steps = step;
    this.replace(weights, first, second);
  }

  dispose(): void {
    tf.dispose([this.weights, this.first, this.second, ...(this.multiplier ? [this.multiplier] : [])]);
  }

  private replace(weights: tf.Tensor1D, first: tf.Tensor1D, second: tf.Tensor1D): void {
    tf.dispose([this.weights, this.first, this.second]);
    [this.weights, this.first, this.second] = [weights, first, second];
    const parts = this.flat.split(weights);
    for (const [key, tensor] of parts) this.variables.get(key)!.assign(tensor);
    tf.dispose([...parts.values()]);
  }
}
