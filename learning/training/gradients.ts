import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import type { EncodedSample } from '../../core/sample.ts';
import type { Adapt, BaseModel } from '../model/model.ts';
import { lossTokens, padBatch } from './batches.ts';
import type { Flat } from './flat.ts';

/** What one optimizer step differentiates. */
export interface Objective {
  readonly model: BaseModel;
  readonly variables: ReadonlyMap<string, tf.Variable>;
  readonly flat: Flat;
  /** The adapter for micro-batch number `micro` of this step. */
  adapt(micro: number): Adapt;
  /** The regulariser, already weighted. */
  penalty?(): tf.Scalar;
  /** Vision features of images in this order, [images, tokens, width]; the caller disposes. */
  features(digests: readonly string[]): tf.Tensor3D;
}

export interface Gradient {
  /** [flat.size]; the caller disposes. */
  readonly gradient: tf.Tensor1D;
  /** [2]: task loss and penalty; the caller disposes. Left in the engine, so that one read serves the whole step. */
  readonly losses: tf.Tensor1D;
  /** Real tokens. */
  readonly tokens: number;
}

/**
 * Loss and gradient of a batch in micro-batches. Each counts by its share of the tokens that carry loss, so the sum is
 * the mean over the tokens of the whole batch, however it is cut. The penalty counts once.
 */
export function batchGradient(
  objective: Objective,
  samples: readonly EncodedSample[],
  microBatchSize: number,
): Gradient {
  const total = samples.reduce((sum, sample) => sum + lossTokens(sample), 0);
  if (total === 0) {
    const ids = samples.map(({ id }) => id).join(', ');
    throw new LiloraError('BadDataset', `No token carries loss in samples ${ids}. Give them an assistant turn.`);
  }
  let sum: Omit<Gradient, 'tokens'> | null = null;
  for (let start = 0; start < samples.length; start += microBatchSize) {
    const micro = samples.slice(start, start + microBatchSize);
    const share = micro.reduce((count, sample) => count + lossTokens(sample), 0) / total;
    if (share === 0) continue;
    const part = tf.tidy(() => microGradient(objective, micro, start / microBatchSize, share, sum === null));
    if (!sum) sum = part;
    else {
      const before: Omit<Gradient, 'tokens'> = sum;
      sum = {
        gradient: tf.add(before.gradient, part.gradient),
        losses: tf.add(before.losses, part.losses),
      };
      tf.dispose([before.gradient, before.losses, part.gradient, part.losses]);
    }
  }
  return { ...sum!, tokens: samples.reduce((count, { inputIds }) => count + inputIds.length, 0) };
}

function microGradient(
  { model, variables, flat, adapt, penalty, features }: Objective,
  samples: readonly EncodedSample[],
  micro: number,
  share: number,
  withPenalty: boolean,
): Omit<Gradient, 'tokens'> {
  const batch = padBatch(samples, model.padToken);
  const digests = samples.flatMap(({ images }) => images);
  const seen = digests.length > 0 ? features(digests) : null;
  let parts: tf.Tensor[] = [];
  const { grads } = tf.variableGrads(() => {
    const loss = model.loss(batch, seen, adapt(micro));
    const task = share === 1 ? loss : (tf.mul(loss, share) as tf.Scalar);
    const pull = withPenalty ? penalty?.() : undefined;
    parts = [tf.keep(task), pull ? tf.keep(pull) : tf.keep(tf.scalar(0))];
    return pull ? (tf.add(task, pull) as tf.Scalar) : task;
  }, [...variables.values()]);
  const losses = tf.stack(parts) as tf.Tensor1D;
  tf.dispose(parts);
  return { gradient: flat.join((key) => grads[variables.get(key)!.name]), losses };
}
