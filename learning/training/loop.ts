import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import type { TensorMap } from '../../core/host-tensor.ts';
import type { EncodedSample } from '../../core/sample.ts';
import { bindTrainable } from '../methods/adapter.ts';
import type { Method, Trainable } from '../methods/method.ts';
import type { Adapt, AdaptedLayer, BaseModel } from '../model/model.ts';
import { AdamW, type AdamWState } from './adamw.ts';
import { batchGradient } from './gradients.ts';
import { checkTraining, type StepProgress, type TrainingOptions } from './options.ts';
import type { Random } from './random.ts';
import { Sampler } from './sampler.ts';
import { cosineWithWarmup } from './schedule.ts';

export interface Loop {
  readonly model: BaseModel;
  readonly method: Method;
  readonly options: Record<string, unknown>;
  readonly layers: readonly AdaptedLayer[];
  readonly trainable: Trainable;
  readonly samples: readonly EncodedSample[];
  /** Vision features of images in this order, [images, tokens, width]; the loop disposes. */
  readonly features: (digests: readonly string[]) => tf.Tensor3D;
  readonly training: TrainingOptions;
  /** Of the order of samples and of dropout; split, never drawn from. */
  readonly random: Random;
  /** False: the task loss alone. */
  readonly penalty: boolean;
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
export async function trainingLoop(loop: Loop): Promise<{ trained: TensorMap; steps: number }> {
  const { model, method, options, layers, trainable, samples, training, random, signal } = loop;
  checkTraining(training);
  if (samples.length === 0) {
    throw new LiloraError('BadDataset', `Task ${trainable.task} has no training samples. Add some.`);
  }
  const sampler = new Sampler(samples.length, { ...training, random: random.split('order') });
  const { steps } = sampler;
  const bound = bindTrainable(method, options, layers, trainable);
  const shared = sharedRate(options);
  const optimizer = new AdamW(bound.variables, {
    weightDecay: training.weightDecay,
    multiplier: (key) => (bound.group(key) === 'shared' ? shared : 1),
  });
  try {
    const resumed = loop.resume?.(steps);
    if (resumed) optimizer.restore(resumed);
    const first = optimizer.step;
    while (optimizer.step < steps) {
      const step = optimizer.step;
      if (signal.aborted) {
        if (step > first) await loop.onStep?.(() => optimizer.state(), steps, true);
        throw new LiloraError(
          'Cancelled',
          `Training of ${trainable.task} was cancelled after step ${step} of ${steps}.`,
        );
      }
      const began = performance.now();
      const batch = Array.from(sampler.batch(step), (i) => samples[i]!);
      const {
        gradient: raw,
        losses,
        tokens,
      } = batchGradient(
        {
          model,
          variables: bound.variables,
          flat: optimizer.flat,
          features: loop.features,
          adapt: (micro) => dropInputs(bound.adapt, layers, training.dropout ?? 0, random.split(`${step} ${micro}`)),
          ...(loop.penalty && method.penalty && { penalty: () => method.penalty!(bound.active, options, trainable) }),
        },
        batch,
        training.microBatchSize,
      );
      const gradient = adjusted(raw);
      const [loss, penalty, gradientNorm] = readNumbers(losses, gradient);
      if (![loss, penalty, gradientNorm].every(Number.isFinite)) {
        gradient.dispose();
        throw notFinite(trainable.task, step, { loss, penalty, 'gradient norm': gradientNorm }, batch);
      }
      const learningRate = training.learningRate * cosineWithWarmup(step, steps, training.warmupRatio);
      optimizer.apply(gradient, learningRate, clipScale(gradientNorm, training.clipNorm));
      gradient.dispose();
      const secondsPerStep = (performance.now() - began) / 1000;
      loop.onProgress({ step: step + 1, steps, loss, penalty, learningRate, gradientNorm, tokens, secondsPerStep });
      if (step + 1 < steps) await loop.onStep?.(() => optimizer.state(), steps, false);
      // Messages, timers and signals get their turn.
      await setImmediate();
    }
    return { trained: bound.trained(), steps };
  } finally {
    optimizer.dispose();
    bound.dispose();
  }

  /** What the method makes of the gradient; the given one is disposed of. */
  function adjusted(gradient: tf.Tensor1D): tf.Tensor1D {
    if (!method.adjust) return gradient;
    const result = tf.tidy(() => {
      const changed = method.adjust!(optimizer.flat.split(gradient), bound.active, options);
      return optimizer.flat.join((key) => changed.get(key));
    });
    gradient.dispose();
    return result;
  }
}

/** Methods may let shared factors learn more slowly: option `sharedLearningRate`, a factor on the learning rate. */
function sharedRate(options: Record<string, unknown>): number {
  const factor = options.sharedLearningRate;
  return typeof factor === 'number' ? factor : 1;
}

/** Task loss, penalty and global norm of the gradient in one read; disposes of `losses`. */
function readNumbers(losses: tf.Tensor1D, gradient: tf.Tensor1D): [number, number, number] {
  const numbers = tf.tidy(() => tf.concat1d([losses, tf.reshape(tf.norm(gradient), [1])]));
  const [loss, penalty, norm] = numbers.dataSync();
  tf.dispose([losses, numbers]);
  return [loss!, penalty!, norm!];
}

/** As `clip_grad_norm_` of PyTorch. */
export function clipScale(norm: number, limit: number): number {
  return limit > 0 ? Math.min(1, limit / (norm + 1e-6)) : 1;
}

/** Dropout on the input of every adapted layer, with masks that depend only on `random` and the layer's name. */
function dropInputs(adapt: Adapt, layers: readonly AdaptedLayer[], rate: number, random: Random): Adapt {
  if (rate === 0) return adapt;
  const names = new Set(layers.map(({ name }) => name));
  return (layer, x, base) => {
    if (!names.has(layer)) return base;
    return adapt(layer, tf.dropout(x, rate, undefined, random.split(layer).uint32()) as tf.Tensor2D, base);
  };
}

function notFinite(
  task: string,
  step: number,
  numbers: Record<string, number>,
  batch: readonly EncodedSample[],
): LiloraError {
  const values = Object.entries(numbers).map(([name, value]) => `${name} ${value}`);
  const where = `Training of ${task}, step ${step + 1}: ${values.join(', ')}`;
  const ids = batch.map(({ id }) => id).join(', ');
  const next = 'Lower training.learningRate or set training.clipNorm, and look at these samples';
  return new LiloraError('NonFiniteLoss', `${where}. ${next}: ${ids}.`);
}
