import type * as tf from '@tensorflow/tfjs';
import type { z } from 'zod';
import type { HostTensor, TensorMap } from '../../core/host-tensor.ts';
import type { AdaptedLayer, Rows } from '../model/model.ts';
import type { Random } from '../training/random.ts';
import type { PlainLora } from './ranks.ts';

/**
 * All adapter tensors of a stream. Keys are structured, never matched by substring:
 * `shared/<module path>/<tensor>` and `tasks/<task>/<module path>/<tensor>`; of no single layer: `model/<tensor>` and
 * `tasks/<task>/<tensor>`.
 */
export interface Bank {
  readonly method: string;
  /** The options it was started with, defaults filled in; a bank refuses to go on with others. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly layers: readonly AdaptedLayer[];
  /** Tasks learned, in order. */
  readonly tasks: readonly string[];
  readonly tensors: TensorMap;
}

/** One tensor that takes part in training a task. The key is `<module path>/<tensor>`; `model/<tensor>` for one of no layer. */
export interface TrainableTensor {
  readonly start: HostTensor;
  /** Where it goes in the bank: shared by all tasks, or the task's own. */
  readonly place: 'shared' | 'own';
  readonly trained: boolean;
}

/** An adapter whose answers to the same samples training also holds on to (knowledge distillation). */
export interface Teacher {
  /** By `<module path>/<tensor>`, as `activate` gives them. */
  readonly tensors: TensorMap;
  /** Both answers are softened by it before they are compared. */
  readonly temperature: number;
  /** Of the divergence from it, next to the task loss. */
  readonly weight: number;
}

/** What is trained for one task and from what start; plus constants that the penalty needs. */
export interface Trainable {
  readonly task: string;
  /** By `<module path>/<tensor>`. */
  readonly tensors: ReadonlyMap<string, TrainableTensor>;
  /**
   * Frozen numbers for the penalty (earlier shared factors, sums over earlier tasks), by `<module path>/<tensor>`. A method
   * may compute them when they are first read.
   */
  readonly constants: TensorMap;
  /** Losses for this task may read it, for example "is there an earlier task". */
  readonly earlierTasks: readonly string[];
  readonly teacher?: Teacher;
}

/** The tensors of one task in the engine, by `<module path>/<tensor>`. */
export interface Active {
  get(layer: string, tensor: string): tf.Tensor;
  has(layer: string, tensor: string): boolean;
  /** Constants of `Trainable`; empty outside training. */
  constant(layer: string, tensor: string): tf.Tensor | undefined;
  /** Share of the training that is done; only there while a step of it is computed. */
  readonly progress?: tf.Scalar;
  readonly layers: readonly AdaptedLayer[];
}

/** Numbers of parameters by formula. */
export interface ParameterCount {
  readonly shared: number;
  readonly perTask: number;
  /** Kept in the bank beside these for training later tasks alone: the model runs without them. */
  readonly training?: { readonly shared: number; readonly perTask: number };
}

/** What a method is, for people: printed, stored with every generation. */
export interface MethodDescription {
  readonly shared: readonly string[];
  readonly perTask: readonly string[];
  readonly frozenAfterTask: readonly string[];
  readonly parameters: ParameterCount;
}

/** The outcome of the regularize step. */
export interface Consolidated {
  readonly bank: Bank;
  /** Per earlier task: relative change of its ΔW, ‖new − old‖_F / ‖old‖_F, mean and worst layer. */
  readonly drift: ReadonlyArray<{
    readonly task: string;
    readonly mean: number;
    readonly worst: number;
    readonly worstLayer: string;
  }>;
  /** True when the new task's own factors were changed too and want a short refit with shared factors frozen. */
  readonly refit: boolean;
}

/** Which gradients: of the loss of single samples, or their squares; mean over so many samples, some left out before them. */
export interface GradientRequest {
  readonly squared: boolean;
  readonly samples: number;
  readonly skip?: number;
}

/** Samples of the task, those held out, or those at hand of an earlier task. */
export type ProbedSamples = 'training' | 'held-out' | { readonly task: string };

/**
 * What a method may look at before and after training: the task's samples through the frozen model. Adapters are tensors
 * by `<module path>/<tensor>`, as `apply` reads them; null is the base model. `samples` is how many are looked at, at
 * most. Everything is a function of seed, task and data, so a resumed run measures the same again.
 */
export interface Probe {
  /** Training samples of the task. */
  readonly samples: number;
  /** Samples that training does not see (`Method.heldOut`). */
  readonly heldOut: number;
  /** Of seed and task; split, never drawn from. */
  readonly random: Random;
  /** Between parts of long work: a sign of life. Throws `Cancelled`. */
  alive(): Promise<void>;
  /** Σ x xᵀ over all tokens of training samples, [in, in], by module path: what goes into each adapted layer. */
  inputMoments(adapter: TensorMap | null, samples: number): Promise<TensorMap>;
  /** Mean over samples of the gradient of each sample's loss, or of its square, by tensor. */
  gradients(adapter: TensorMap, request: GradientRequest): Promise<TensorMap>;
  /** Mean over samples of the last hidden state at the last token of the prompt, [width]. */
  hidden(adapter: TensorMap | null, samples: number): Promise<HostTensor>;
  /** Earlier tasks of which samples are at hand (`Method.rehearsal`). */
  readonly earlier: readonly string[];
  /** Mean loss over the tokens that carry any: of the task, of what was held out, or of an earlier task. */
  loss(adapter: TensorMap | null, on: ProbedSamples, samples: number): Promise<number>;
  /** Share of the samples whose answers greedy decoding would give token by token. */
  accuracy(adapter: TensorMap | null, on: ProbedSamples, samples: number): Promise<number>;
}

/** What `after` knows besides: how training began, and how it may go on. */
export interface Ended {
  /** The bank that the task began with. */
  readonly begun: Bank;
  /**
   * Trains on from the end, at a constant share of the highest learning rate, and gives the trained tensors after every so
   * many steps, by `<module path>/<tensor>`. What the task ended with stays as it is.
   */
  further(request: { snapshots: number; every: number; rate: number }): Promise<TensorMap[]>;
}

/** Training samples of earlier tasks that a method asks for, next to those of the new one. */
export interface Rehearsal {
  /** Of every earlier task: a quota that is drawn once, or all. */
  readonly perTask: number | 'all';
  /**
   * `mixed`: among the new samples in one order, so that the task takes as many more steps. `beside`: with every batch of
   * new samples goes one of old samples. `aside`: training does not see them, the probe does.
   */
  readonly place: 'mixed' | 'beside' | 'aside';
  /** Whose gradients `reconcile` gets apart: those of every task, or of the new task and of all earlier ones. */
  readonly groups?: 'tasks' | 'age';
}

/** What was chosen for the samples of a batch, and which tokens are theirs. */
export interface Routed {
  /** [samples, …]. */
  readonly route: tf.Tensor;
  readonly rows: Rows;
}

/** An ordinary LoRA pair of one layer: ΔW = scale · B A, A [r, in], B [out, r]. */
export interface LoraPair {
  readonly A: HostTensor;
  readonly B: HostTensor;
  /** Where it is another than that of the adapter. */
  readonly alpha?: number;
}

/**
 * One continual-learning method. Everything but `apply`, `penalty` and `adjust` is plain arithmetic on the host, so it
 * runs wherever a bank does. Options are validated and completed by `options` before any other call.
 */
export interface Method<Options extends Record<string, unknown> = Record<string, unknown>> {
  readonly name: string;
  readonly title: string;
  readonly paper: string | null;
  readonly options: z.ZodType<Options>;
  /** False: the task id is not needed to run the model after training (one adapter for all). */
  readonly needsTask: boolean;
  describe(layers: readonly AdaptedLayer[], options: Options): MethodDescription;
  /** The bank before the first task. */
  start(layers: readonly AdaptedLayer[], options: Options, random: Random): Bank;
  /** Whether `before` and `after` do anything with these options. They do when absent. */
  measures?(options: Options): boolean;
  /** Share of the training samples that training does not see, for `Probe.loss`. None when absent. */
  heldOut?(options: Options): number;
  /**
   * Looks at the data of `task` and puts what it finds into a bank, before `begin`: the task's own tensors may stand there
   * before the task does. Runs again when training is resumed. Methods that use this, `after` or `heldOut` do not train
   * in rounds (`looksAtData`).
   */
  before?(bank: Bank, task: string, options: Options, probe: Probe): Promise<Bank>;
  /** The same after `finish`, on a bank that contains the task. */
  after?(bank: Bank, task: string, options: Options, probe: Probe, ended: Ended): Promise<Bank>;
  /** What to train for `task`, with options that may differ from the bank's (safe mode). Does not change the bank. */
  begin(bank: Bank, task: string, options: Options, random: Random): Trainable;
  /**
   * The adapted output of one linear layer: x [tokens, in], base [tokens, out] → [tokens, out].
   * @param routed what `route` chose, where it did
   */
  apply(
    layer: AdaptedLayer,
    x: tf.Tensor2D,
    base: tf.Tensor2D,
    active: Active,
    options: Options,
    routed?: Routed,
  ): tf.Tensor2D;
  /**
   * What this layer does for each sample, chosen at its prompt (`rows.mean`): a tensor [samples, …], kept for the tokens that
   * are generated after it. Null where nothing is to be chosen. A pure function.
   */
  route?(layer: AdaptedLayer, x: tf.Tensor2D, active: Active, options: Options, rows: Rows): tf.Tensor | null;
  /** Learned states before those of every row, [n, width of the model]; null for none. */
  prefix?(active: Active): tf.Tensor2D | null;
  /** Regulariser, already weighted: a scalar added to the task loss. Only called while training. */
  penalty?(active: Active, options: Options, trainable: Trainable): tf.Scalar;
  /** Projection methods change gradients before the optimizer sees them, by `<module path>/<tensor>`. */
  adjust?(gradients: Map<string, tf.Tensor>, active: Active, options: Options): Map<string, tf.Tensor>;
  /** What of earlier tasks' training data this method learns from again; null for nothing. Not for training in rounds. */
  rehearsal?(options: Options): Rehearsal | null;
  /**
   * One gradient from those of several groups of samples (`Rehearsal.groups`), each already weighted by its share of the
   * batch, so that their sum is the gradient of the batch. By `<module path>/<tensor>`; in an order that is random from
   * step to step. A pure function, before `adjust`.
   */
  reconcile?(gradients: ReadonlyArray<ReadonlyMap<string, tf.Tensor>>, options: Options): Map<string, tf.Tensor>;
  /**
   * ρ: each step takes the gradient of a random half of its batch where a step of up to ρ against the gradient of the other
   * half leads, and applies it where it was. 0 for ordinary steps. Not together with `reconcile`.
   */
  lookAhead?(options: Options): number;
  /** Puts what was trained into a new bank, the task appended. */
  finish(bank: Bank, trainable: Trainable, trained: TensorMap): Bank;
  /**
   * The regularize step after a task, on a bank that contains it. `strength` 0 is the ordinary step; above 0 (up to 1)
   * the shared factors go back towards `before` by that share, because the result was over the forgetting budget.
   * Absent for methods with nothing shared.
   */
  consolidate?(before: Bank, after: Bank, task: string, strength: number): Consolidated;
  /** Options under which the shared part stays exactly as it is: earlier tasks compute what they computed. Absent if impossible. */
  safe?(options: Options): Options;
  /** The tensors of one learned task, by `<module path>/<tensor>`: what `apply` needs outside training. */
  activate(bank: Bank, task: string): TensorMap;
  /** The ordinary LoRA that equals this method for that task. Absent where none exists. */
  fold?(bank: Bank, task: string): PlainLora;
  /** Whether there is one with these options. There is when absent. */
  folds?(options: Options): boolean;
}

/** `Method.fold` with these options; null where no ordinary LoRA equals a task. */
export const foldOf = (method: Method, options: Record<string, unknown>): NonNullable<Method['fold']> | null =>
  method.fold && (method.folds?.(options) ?? true) ? method.fold : null;

/** Whether a method with these options looks at all data of a task before or after training. */
export function looksAtData(method: Method, options: Record<string, unknown>): boolean {
  const { before, after, heldOut, measures } = method;
  return Boolean(heldOut ?? (measures ? measures(options) : (before ?? after)));
}
