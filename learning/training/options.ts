import { LiloraError } from '../../core/errors.ts';

/** How a task is trained. */
export interface TrainingOptions {
  /** Highest rate, reached after the warm-up. */
  readonly learningRate: number;
  /** Samples per optimizer step. */
  readonly batchSize: number;
  /** Samples per forward pass; the rest of a batch is accumulated. */
  readonly microBatchSize: number;
  /** Passes over the samples; a part of a pass is possible. */
  readonly epochs: number;
  /** Share of the steps over which the learning rate rises. */
  readonly warmupRatio: number;
  readonly weightDecay: number;
  /** Largest global gradient norm; 0 leaves gradients alone. */
  readonly clipNorm: number;
  /** Share of the inputs of every adapted layer that is dropped. Default 0. */
  readonly dropout?: number;
  /** Layers of the decoder keep their input alone and are computed again on the way back: less memory, more time. */
  readonly gradientCheckpointing?: boolean;
  /** Samples of like length share a batch: less padding, an order that is less random. */
  readonly groupByLength?: boolean;
}

/** One step, as it is logged. Losses are means over the tokens of the batch that carry loss. */
export interface StepProgress {
  /** Steps done, from 1. */
  readonly step: number;
  readonly steps: number;
  /** Loss of the task alone. */
  readonly loss: number;
  /** The method's regulariser, already weighted. */
  readonly penalty: number;
  readonly learningRate: number;
  /** Global norm before clipping. */
  readonly gradientNorm: number;
  /** Tokens of the batch, padding left out. */
  readonly tokens: number;
  readonly secondsPerStep: number;
  /** Of these, until its input was there. */
  readonly waitedSeconds: number;
  /** Of the checkpoint before it, if there was one. */
  readonly savedSeconds: number;
  /** Share of the batch that is of earlier tasks; only where the method rehearses. */
  readonly rehearsed?: number;
}

/** Refuses values that cannot train, as `BadConfig`. */
export function checkTraining(options: TrainingOptions): void {
  const bad = (name: keyof TrainingOptions, wanted: string) => {
    throw new LiloraError('BadConfig', `training.${name} is ${options[name]}. It must be ${wanted}.`);
  };
  for (const name of ['batchSize', 'microBatchSize'] as const) {
    if (!(Number.isInteger(options[name]) && options[name] > 0)) bad(name, 'a whole number above 0');
  }
  for (const name of ['learningRate', 'epochs'] as const) {
    if (!(Number.isFinite(options[name]) && options[name] > 0)) bad(name, 'a number above 0');
  }
  for (const name of ['weightDecay', 'clipNorm'] as const) {
    if (!(Number.isFinite(options[name]) && options[name] >= 0)) bad(name, 'a number, 0 or above');
  }
  if (!(options.warmupRatio >= 0 && options.warmupRatio <= 1)) bad('warmupRatio', 'between 0 and 1');
  const { dropout = 0 } = options;
  if (!(dropout >= 0 && dropout < 1)) bad('dropout', 'at least 0 and below 1');
}
