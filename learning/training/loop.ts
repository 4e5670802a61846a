import { setImmediate } from 'node:timers/promises';
import { LiloraError } from '../../core/errors.ts';
import type { TensorMap } from '../../core/host-tensor.ts';
import type { EncodedSample } from '../../core/sample.ts';
import type { Method, Trainable } from '../methods/method.ts';
import type { AdaptedLayer, BaseModel } from '../model/model.ts';
import type { AdamWState } from './adamw.ts';
import { type FeatureSource, featuresReady } from './features.ts';
import { Mixture, type Rehearsed } from './mixture.ts';
import { checkTraining, type StepProgress, type TrainingOptions } from './options.ts';
import type { Random } from './random.ts';
import { cosineWithWarmup } from './schedule.ts';
import { type StepNumbers, TrainingStep } from './step.ts';

/** How a loop ended. */
export interface Trained {
  readonly trained: TensorMap;
  readonly steps: number;
  /** Of the optimizer, where this was a part of a longer run. */
  readonly state: AdamWState | null;
  /** Why steps ran operation by operation; null when they were compiled. */
  readonly whyEager: string | null;
}

export interface Loop {
  readonly model: BaseModel;
  readonly method: Method;
  readonly options: Record<string, unknown>;
  readonly layers: readonly AdaptedLayer[];
  readonly trainable: Trainable;
  readonly samples: readonly EncodedSample[];
  /** Samples of earlier tasks, as many as the method asked for. */
  readonly rehearsed?: readonly Rehearsed[] | undefined;
  /** Vision features of images in this order, [images, tokens, width]; the loop disposes. */
  readonly features: FeatureSource;
  readonly training: TrainingOptions;
  /** Of the order of samples and of dropout; split, never drawn from. */
  readonly random: Random;
  /** False: the task loss alone. */
  readonly penalty: boolean;
  /** A part of a longer run: steps of the whole, and the step after which to stop. Absent: all steps of the sampler. */
  readonly part?: { readonly steps: number; readonly until: number };
  readonly signal: AbortSignal;
  readonly onProgress: (progress: StepProgress) => void;
  /** Where to go on; null at the start. */
  readonly resume?: (steps: number) => AdamWState | null;
  /** Called after every step with a copy of the state on demand; true for the last call of a cancelled run. */
  readonly onStep?: (state: () => AdamWState, steps: number, last: boolean) => Promise<void>;
}

/**
 * Trains what `trainable` marks as trained: batch, forward, backward, adjust, clip, step, log, checkpoint. Between two
 * steps no tensor is made that is not disposed of. `NonFiniteLoss` names step and samples; when `signal` is aborted
 * the step under way is finished, `onStep` is called a last time, and `Cancelled` is thrown.
 */
export async function trainingLoop(loop: Loop): Promise<Trained> {
  const { method, options, trainable, samples, rehearsed = [], training, random, signal } = loop;
  checkTraining(training);
  if (training.gradientCheckpointing && loop.method.route)
    throw new LiloraError(
      'BadConfig',
      `${loop.method.name} chooses by sample while layers are computed, so none can be computed again. Leave training.gradientCheckpointing out.`,
    );
  if (samples.length === 0) {
    throw new LiloraError('BadDataset', `Task ${trainable.task} has no training samples. Add some.`);
  }
  const mixture = new Mixture(samples, rehearsed, method.rehearsal?.(options) ?? null, training, random);
  const { steps, until } = loop.part ?? { steps: mixture.steps, until: mixture.steps };
  const step = new TrainingStep(loop, sharedRate(options));
  const { optimizer } = step;
  try {
    const resumed = loop.resume?.(steps);
    if (resumed) optimizer.restore(resumed);
    const first = optimizer.step;
    let savedSeconds = 0;
    while (optimizer.step < until) {
      const done = optimizer.step;
      if (signal.aborted) {
        if (done > first) await loop.onStep?.(() => optimizer.state(), steps, true);
        throw new LiloraError(
          'Cancelled',
          `Training of ${trainable.task} was cancelled after step ${done} of ${steps}.`,
        );
      }
      const began = performance.now();
      const { samples: batch, groups, rehearsed } = mixture.batch(done);
      await featuresReady(loop.features, groups.flat());
      const waitedSeconds = secondsSince(began);
      const learningRate = training.learningRate * cosineWithWarmup(done, steps, training.warmupRatio);
      const numbers = step.take(groups, learningRate, random.split(String(done)), done / steps);
      if (optimizer.step === done) throw notFinite(trainable.task, done, numbers, batch);
      const secondsPerStep = secondsSince(began);
      const mixed = rehearsed === undefined ? {} : { rehearsed };
      const seconds = { secondsPerStep, waitedSeconds, savedSeconds };
      loop.onProgress({ step: done + 1, steps, learningRate, ...numbers, ...seconds, ...mixed });
      const ended = performance.now();
      if (done + 1 < until) await loop.onStep?.(() => optimizer.state(), steps, false);
      savedSeconds = secondsSince(ended);
      // Messages, timers and signals get their turn.
      await setImmediate();
    }
    const state = loop.part ? optimizer.state() : null;
    return { trained: step.trained(), steps, state, whyEager: step.whyEager };
  } finally {
    step.dispose();
  }
}

const secondsSince = (began: number) => (performance.now() - began) / 1000;

/** Methods may let shared factors learn more slowly: option `sharedLearningRate`, a factor on the learning rate. */
function sharedRate(options: Record<string, unknown>): number {
  const factor = options.sharedLearningRate;
  return typeof factor === 'number' ? factor : 1;
}

function notFinite(
  task: string,
  step: number,
  { loss, penalty, gradientNorm }: StepNumbers,
  batch: readonly EncodedSample[],
): LiloraError {
  const values = Object.entries({ loss, penalty, 'gradient norm': gradientNorm }).map(
    ([name, value]) => `${name} ${value}`,
  );
  const where = `Training of ${task}, step ${step + 1}: ${values.join(', ')}`;
  const ids = batch.map(({ id }) => id).join(', ');
  const next = 'Lower training.learningRate or set training.clipNorm, and look at these samples';
  return new LiloraError('NonFiniteLoss', `${where}. ${next}: ${ids}.`);
}
