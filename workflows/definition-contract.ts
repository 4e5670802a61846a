import type { FileRef } from './contract.ts';

/* Parts of a stream definition. */

/** Who shares workers with whom. Work of different keys is taken up in turn, in proportion to the weights. */
export interface FairnessSettings {
  /** Streams of one tenant have one key; the stream's name when absent. */
  readonly key: string;
  readonly weight: number;
}

/** A bank of tasks that a stream starts from instead of from nothing. */
export interface StreamStart {
  /** An object of the stream's store: what `lilora create --start` put there, or the bank of another stream. */
  readonly bank: FileRef;
  /** Datasets of tasks in it, by task: they are evaluated first, and guarded by the gate from then on. */
  readonly datasets?: Readonly<Record<string, string>>;
}

/** With the names of its tasks, in the order of learning. */
export interface ResolvedStart extends StreamStart {
  readonly tasks: readonly string[];
}

export interface TrainingSettings {
  readonly learningRate: number;
  readonly batchSize: number;
  /** Samples per forward pass; the rest of a batch is accumulated. */
  readonly microBatchSize: number;
  readonly epochs: number;
  readonly warmupRatio: number;
  readonly weightDecay: number;
  /** Largest global gradient norm; 0 leaves gradients alone. */
  readonly clipNorm: number;
  /** Share of the inputs of every adapted layer that is dropped while training. */
  readonly dropout: number;
  /** Layers of the decoder are computed again on the way back: less memory, more time. Absent: no. */
  readonly gradientCheckpointing?: boolean;
  /** Samples of like length share a batch: less padding, an order that is less random. Absent: no. */
  readonly groupByLength?: boolean;
  /** Workers that train side by side in rounds (workflows/rounds.ts). Absent, with the next three: one, and no rounds. */
  readonly workers?: number;
  /** Optimizer steps of each worker between two averages. */
  readonly roundSteps?: number;
  /** Learning rate of the outer step, which moves the weights by the mean of the workers' differences. */
  readonly outerLearningRate?: number;
  /** Nesterov momentum of the outer step. */
  readonly outerMomentum?: number;
}

/** How a stream trains in rounds; null when one worker trains straight through. */
export function roundsOf(training: TrainingSettings) {
  const { workers, roundSteps, outerLearningRate, outerMomentum } = training;
  if (!workers || !roundSteps || outerLearningRate === undefined || outerMomentum === undefined) return null;
  return { workers, roundSteps, outer: { learningRate: outerLearningRate, momentum: outerMomentum } };
}

export interface EvaluationSettings {
  readonly maxNewTokens: number;
  readonly batchSize: number;
  /** A larger test split is evaluated in shards of about so many samples; absent in streams of older versions: in one. */
  readonly shardSamples?: number;
  /** Test samples of every earlier task that stand for its whole split; absent: all of it is evaluated. */
  readonly earlierSamples?: number;
}

export interface GateSettings {
  /** Points that any earlier task may lose from its best published score. */
  readonly forgettingBudget: number;
  /** Points that the new task must gain over the base model. */
  readonly minimumGain: number;
  /** Strengths of the stronger regularize steps that are tried when the budget is exceeded, in order. */
  readonly consolidations: readonly number[];
  /** What follows when they do not help: train again with the shared part frozen, ask a person, or reject. */
  readonly whenOver: 'safe' | 'ask' | 'reject';
}

export interface LimitSettings {
  /** Longest training of one task, in hours. */
  readonly trainHours: number;
  /** Silence after which a GPU worker counts as dead, in seconds. */
  readonly heartbeatSeconds: number;
  /** Time between checkpoints, in seconds. */
  readonly checkpointSeconds: number;
}
