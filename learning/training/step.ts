import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import type { TensorMap } from '../../core/host-tensor.ts';
import type { EncodedSample } from '../../core/sample.ts';
import { bindTrainable } from '../methods/adapter.ts';
import type { Method, Trainable } from '../methods/method.ts';
import { lossOfAnswers, roundUp } from '../model/batch.ts';
import { type Adapt, type AdaptedLayer, around, type BaseModel } from '../model/model.ts';
import { isOutOfMemory } from '../tensors/backend.ts';
import { Compiled } from '../tensors/compile.ts';
import { forgetFailedGradient } from '../tensors/gradients.ts';
import { dropout } from '../tensors/ops.ts';
import { type Tree, tensorsOf, tidied } from '../tensors/tree.ts';
import { AdamW, type Moments, type Rates } from './adamw.ts';
import { lossTokens, padBatch } from './batches.ts';
import { distillation } from './distillation.ts';
import type { FeatureSource } from './features.ts';
import type { TrainingOptions } from './options.ts';
import type { Random } from './random.ts';

/** What a step trains, and on what. */
export interface StepOptions {
  readonly model: BaseModel;
  readonly method: Method;
  readonly options: Record<string, unknown>;
  readonly layers: readonly AdaptedLayer[];
  readonly trainable: Trainable;
  /** Vision features of images in this order, [images, tokens, width]; the step disposes. */
  readonly features: FeatureSource;
  readonly training: TrainingOptions;
  /** False: the task loss alone. */
  readonly penalty: boolean;
}

/** What one step tells. */
export interface StepNumbers {
  /** Loss of the task alone. */
  readonly loss: number;
  /** The regulariser and what a teacher holds back, already weighted. */
  readonly penalty: number;
  /** Global norm before clipping. */
  readonly gradientNorm: number;
  /** Real tokens of the batch. */
  readonly tokens: number;
}

/** What is computed by itself of a micro-batch. */
type Lane = {
  readonly batch: Tree;
  /** Its share in the tokens that carry loss. */
  readonly share: tf.Scalar;
  /** Of dropout, [2] int32; null without it. */
  readonly seed: tf.Tensor1D | null;
};
type GradientInputs = {
  readonly lanes: readonly Lane[];
  readonly weights: tf.Tensor1D;
  readonly penalized: boolean;
  /** Share of the training that is done. */
  readonly progress: tf.Scalar;
};
/** `losses` [2]: task loss and penalty. They stay in the engine, so that one read serves the whole step. */
type Gradient = { readonly gradient: tf.Tensor1D; readonly losses: tf.Tensor1D };
type UpdateInputs = { readonly parts: readonly Gradient[]; readonly moments: Moments; readonly rates: Rates };
/** `numbers` [3]: task loss, penalty and norm of the gradient. */
type Update = { readonly moments: Moments; readonly numbers: tf.Tensor1D };

/**
 * One optimizer step of one task: forward and backward per micro-batch, then the update, each a pure function of tensors
 * that TensorFlow runs as one graph (`Compiled`). Weights and moments stay in the engine from step to step.
 */
export class TrainingStep {
  readonly optimizer: AdamW;
  private readonly run: StepOptions;
  private readonly bound: ReturnType<typeof bindTrainable>;
  private readonly gradient: Compiled<GradientInputs, Gradient>;
  private readonly update: Compiled<UpdateInputs, Update>;
  private progress = 1;
  /** Samples of one pass; fewer than asked for where memory does not hold them. */
  private microBatchSize: number;

  /** @param sharedRate factor on the learning rate of tensors that all tasks share */
  constructor(run: StepOptions, sharedRate: number) {
    this.run = run;
    this.microBatchSize = run.training.microBatchSize;
    const { method, options, layers, trainable, training } = run;
    this.bound = bindTrainable(method, options, layers, trainable);
    this.optimizer = new AdamW(this.bound.variables, {
      weightDecay: training.weightDecay,
      multiplier: (key) => (this.bound.group(key) === 'shared' ? sharedRate : 1),
    });
    this.gradient = new Compiled((inputs) => this.gradientOf(inputs));
    this.update = new Compiled((inputs) => this.updateOf(inputs));
  }

  /** Why steps run operation by operation; null when they are compiled. */
  get whyEager(): string | null {
    return this.gradient.whyEager ?? this.update.whyEager;
  }

  /**
   * Takes one step on a batch, which may fall into groups whose gradients the method reconciles, cut into micro-batches.
   * Each counts by its share of the tokens that carry loss, so the gradient is that of the mean over the tokens of the whole
   * batch, however it is cut. The penalty counts once.
   * Numbers that are not finite come back as they are, and the weights stay as they were.
   * @param random of dropout; split, never drawn from
   * @param progress share of the training that is done, for penalties that grow
   */
  take(
    groups: ReadonlyArray<readonly EncodedSample[]>,
    learningRate: number,
    random: Random,
    progress = 1,
  ): StepNumbers {
    this.progress = progress;
    const samples = groups.flat();
    const total = tokensWithLoss(samples);
    if (total === 0) {
      const ids = samples.map(({ id }) => id).join(', ');
      throw new LiloraError('BadDataset', `No token carries loss in samples ${ids}. Give them an assistant turn.`);
    }
    const parts = this.lookAhead(samples, random) ?? this.gradients(groups, total, random);
    const rates = this.optimizer.rates(learningRate);
    const { moments, numbers } = this.update.run({ parts, moments: this.optimizer.moments, rates });
    const [loss, penalty, gradientNorm] = numbers.dataSync() as unknown as [number, number, number];
    tf.dispose([...tensorsOf(parts), ...Object.values(rates), numbers]);
    if ([loss, penalty, gradientNorm].every(Number.isFinite)) this.optimizer.accept(moments);
    else tf.dispose(Object.values(moments));
    const tokens = samples.reduce((count, { inputIds }) => count + inputIds.length, 0);
    return { loss, penalty, gradientNorm, tokens };
  }

  /** The trained tensors as they are now. */
  trained(): TensorMap {
    return this.optimizer.flat.toHost(this.optimizer.moments.weights);
  }

  dispose(): void {
    this.gradient.dispose();
    this.update.dispose();
    this.optimizer.dispose();
    this.bound.dispose();
  }

  /** Gradients of the groups: their sum where nothing is to be reconciled, else each one, in an order drawn for this step. */
  private gradients(
    groups: ReadonlyArray<readonly EncodedSample[]>,
    total: number,
    random: Random,
  ): readonly Gradient[] {
    const reconciles = this.run.method.reconcile !== undefined;
    const units = reconciles
      ? groups.filter((group) => group.some((sample) => lossTokens(sample) > 0))
      : [groups.flat()];
    const parts = units.map((samples, i) =>
      this.gradientOfGroup(samples, total, i === 0, i === 0 ? random : random.split(`group ${i}`)),
    );
    return Array.from(random.split('order of groups').permutation(parts.length), (i) => parts[i]!);
  }

  /** The gradient of a random half of the batch, taken ahead of the weights (`Method.lookAhead`); null for ordinary steps. */
  private lookAhead(samples: readonly EncodedSample[], random: Random): readonly Gradient[] | null {
    const most = this.run.method.lookAhead?.(this.run.options) ?? 0;
    if (most === 0) return null;
    const draw = random.split('look ahead');
    const order = Array.from(draw.permutation(samples.length), (i) => samples[i]!);
    const half = Math.ceil(order.length / 2);
    const [own, other] = [order.slice(0, half), order.slice(half)];
    const [ownTokens, otherTokens] = [tokensWithLoss(own), tokensWithLoss(other)];
    if (ownTokens === 0 || otherTokens === 0) return null;
    const { weights } = this.optimizer.moments;
    const there = this.gradientOfGroup(other, otherTokens, false, draw);
    const ahead = tf.tidy(() => tf.sub(weights, tf.mul(there.gradient, most * draw.uniform()))) as tf.Tensor1D;
    const part = this.gradientOfGroup(own, ownTokens, true, random, ahead);
    tf.dispose([...tensorsOf(there), ahead]);
    return [part];
  }

  /**
   * Where memory does not hold a micro-batch, this one and all later ones are half as large: the gradient is the same.
   * @param penalized the penalty counts here
   */
  private gradientOfGroup(
    samples: readonly EncodedSample[],
    total: number,
    penalized: boolean,
    random: Random,
    weights = this.optimizer.moments.weights,
  ): Gradient {
    for (;;) {
      const parts: Gradient[] = [];
      try {
        return this.accumulated(parts, samples, total, penalized, random, weights);
      } catch (error) {
        tf.dispose(tensorsOf(parts));
        forgetFailedGradient();
        if (!isOutOfMemory(error) || this.microBatchSize === 1) throw error;
        this.microBatchSize = Math.ceil(this.microBatchSize / 2);
      }
    }
  }

  /** @param parts at most one: the sum so far */
  private accumulated(
    parts: Gradient[],
    samples: readonly EncodedSample[],
    total: number,
    penalized: boolean,
    random: Random,
    weights: tf.Tensor1D,
  ): Gradient {
    const { microBatchSize } = this;
    for (let start = 0; start < samples.length; start += microBatchSize) {
      const micro = samples.slice(start, start + microBatchSize);
      const tokens = tokensWithLoss(micro);
      if (tokens === 0) continue;
      const lanes = this.lanesOf(micro, tokens / total, random.split(String(start / microBatchSize)));
      const inputs: GradientInputs = {
        lanes,
        weights,
        penalized: penalized && parts.length === 0,
        progress: tf.scalar(this.progress),
      };
      const { weights: _, ...given } = inputs;
      try {
        const part = this.gradient.run(inputs);
        parts[0] = parts[0] ? added(parts[0], part) : part;
      } finally {
        tf.dispose(tensorsOf(given));
      }
    }
    return parts[0]!;
  }

  /** @param weight share of the micro-batch in the tokens that carry loss */
  private lanesOf(micro: readonly EncodedSample[], weight: number, draw: Random): Lane[] {
    const { model, features, training } = this.run;
    const { dropout: rate = 0 } = training;
    const length = (longest: number) => Math.max(longest, Math.min(roundUp(longest, 8), model.contextLength));
    const digests = micro.flatMap(({ images }) => images);
    const batch = padBatch(micro, model.padToken, { length });
    return tidied(() =>
      model.lossLanes(batch, digests.length > 0 ? features(digests) : null).map(({ inputs, share }) => ({
        batch: inputs,
        share: tf.scalar(share * weight),
        seed: rate > 0 ? tf.tensor1d([draw.uint32() | 0, draw.uint32() | 0], 'int32') : null,
      })),
    );
  }

  private gradientOf({ lanes, ...common }: GradientInputs): Gradient {
    const [first, ...others] = lanes.map((lane, i) =>
      this.gradientOfLane(lane, { ...common, penalized: common.penalized && i === 0 }),
    );
    return others.reduce(sum, first!);
  }

  private gradientOfLane({ batch, share, seed }: Lane, common: Omit<GradientInputs, 'lanes'>): Gradient {
    const { weights, penalized, progress } = common;
    const { model, method, options, trainable, penalty } = this.run;
    const { teacher } = this.bound;
    const taught = teacher ? model.answersOf(batch, teacher).logits : null;
    const parts: tf.Tensor[] = [];
    const gradient = tf.grad((flat) => {
      const { adapt, active } = this.bound.at(
        this.optimizer.flat.split(flat as tf.Tensor1D),
        progress,
        this.run.training.gradientCheckpointing,
      );
      const answers = model.answersOf(batch, this.dropped(adapt, seed));
      const task = tf.mul(lossOfAnswers(answers), share);
      const own = penalty && penalized && method.penalty ? method.penalty(active, options, trainable) : tf.scalar(0);
      const pull = taught ? tf.add(own, tf.mul(distillation(answers, taught, trainable.teacher!), share)) : own;
      parts.push(tf.keep(task), tf.keep(pull));
      return tf.add(task, pull);
    })(weights) as tf.Tensor1D;
    const losses = tf.stack(parts) as tf.Tensor1D;
    tf.dispose(parts);
    return { gradient, losses };
  }

  private updateOf({ parts, moments, rates }: UpdateInputs): Update {
    const { training } = this.run;
    const losses = parts.map((part) => part.losses).reduce((a, b) => tf.add(a, b));
    const gradient = this.adjusted(this.reconciled(parts.map((part) => part.gradient)), moments);
    const norm = tf.norm(gradient) as tf.Scalar;
    const clipped = training.clipNorm > 0 ? tf.mul(gradient, clipScale(norm, training.clipNorm)) : gradient;
    return {
      moments: this.optimizer.next(moments, clipped as tf.Tensor1D, rates),
      numbers: tf.concat1d([losses, tf.reshape(norm, [1])]),
    };
  }

  /** One gradient from those of the groups. */
  private reconciled(gradients: readonly tf.Tensor1D[]): tf.Tensor1D {
    if (gradients.length === 1) return gradients[0]!;
    const { flat } = this.optimizer;
    const { method, options } = this.run;
    const made = method.reconcile!(
      gradients.map((gradient) => flat.split(gradient)),
      options,
    );
    return flat.join((key) => made.get(key));
  }

  /** What the method makes of the gradient. */
  private adjusted(gradient: tf.Tensor1D, { weights }: Moments): tf.Tensor1D {
    const { method, options } = this.run;
    if (!method.adjust) return gradient;
    const { flat } = this.optimizer;
    const changed = method.adjust(flat.split(gradient), this.bound.at(flat.split(weights)).active, options);
    return flat.join((key) => changed.get(key));
  }

  /** Dropout on the input of every adapted layer. Its mask depends on the seed and on the layer's place. */
  private dropped(adapt: Adapt, seed: tf.Tensor1D | null): Adapt {
    if (!seed) return adapt;
    const places = new Map(this.run.layers.map(({ name }, i) => [name, i]));
    return around(adapt, (inner) => (layer, x, base, rows) => {
      const place = places.get(layer);
      if (place === undefined) return base;
      const own = tf.add(seed, tf.tensor1d([0, place], 'int32')) as tf.Tensor1D;
      return inner(layer, dropout(x, this.run.training.dropout!, own), base, rows);
    });
  }
}

const tokensWithLoss = (samples: readonly EncodedSample[]) =>
  samples.reduce((sum, sample) => sum + lossTokens(sample), 0);

const sum = (a: Gradient, b: Gradient): Gradient => ({
  gradient: tf.add(a.gradient, b.gradient) as tf.Tensor1D,
  losses: tf.add(a.losses, b.losses) as tf.Tensor1D,
});

/** The sum; disposes of the parts. */
function added(a: Gradient, b: Gradient): Gradient {
  const both = sum(a, b);
  tf.dispose([...Object.values(a), ...Object.values(b)]);
  return both;
}

/** As `clip_grad_norm_` of PyTorch: the factor that brings a norm down to the limit, never above 1. */
export function clipScale(norm: tf.Scalar, limit: number): tf.Scalar {
  return tf.minimum(tf.div(limit, tf.add(norm, 1e-6)), 1) as tf.Scalar;
}
