import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs';
import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import type { EncodedSample } from '../../core/sample.ts';
import { evaluationBatches } from '../evaluation/evaluate.ts';
import { type BaseModel, noAdapter } from '../model/model.ts';
import { padBatch } from '../training/batches.ts';
import { lastPromptToken } from '../training/probe.ts';
import { Random } from '../training/random.ts';

/** Prompts that features are made of. */
export interface Prompts {
  readonly model: BaseModel;
  readonly samples: readonly EncodedSample[];
  /** Vision features of the images of one batch in this order; disposed of here. */
  readonly vision: (digests: readonly string[]) => tf.Tensor3D | Promise<tf.Tensor3D>;
  readonly batchSize: number;
  readonly signal: AbortSignal;
  /** Batches done, of how many. */
  readonly onProgress: (done: number, of: number) => void;
}

/**
 * What a router sees of every prompt, text and images: the last hidden state of the base model, without any adapter, at
 * the last token before the answer; wide ones through a fixed random projection, then of length 1. In the order of the
 * samples.
 */
export async function promptFeatures(prompts: Prompts): Promise<Float64Array[]> {
  const { model, samples, batchSize, signal, onProgress } = prompts;
  const batches = evaluationBatches(samples, batchSize);
  const found: Float64Array[] = new Array(samples.length);
  let project: ((state: Float32Array) => Float64Array) | null = null;
  for (const [done, chosen] of batches.entries()) {
    if (signal.aborted)
      throw new LiloraError(
        'Cancelled',
        `Looking at prompts was cancelled after ${done} of ${batches.length} batches.`,
      );
    const rows = chosen.map((i) => samples[i]!);
    const digests = rows.flatMap(({ images }) => images);
    const vision = digests.length > 0 ? await prompts.vision(digests) : null;
    // Padding stands on the right, and attention is causal: the last token of a prompt does not see it.
    const batch = padBatch(rows, model.padToken);
    const states = model.hidden(batch, vision, noAdapter);
    const at = rows.map((sample, row) => row * batch.length + lastPromptToken(sample));
    const picked = tf.tidy(() => tf.gather(states, tf.tensor1d(at, 'int32')));
    const values = picked.dataSync() as Float32Array;
    const [, width] = picked.shape as [number, number];
    tf.dispose([states, picked, ...(vision ? [vision] : [])]);
    project ??= projection(width);
    for (const [row, i] of chosen.entries())
      found[i] = normalized(project(values.slice(row * width, (row + 1) * width)));
    onProgress(done + 1, batches.length);
    await setImmediate();
  }
  return found;
}

/** The same random directions for every task of every stream: distances between states keep about what they are. */
function projection(width: number): (state: Float32Array) => Float64Array {
  const size = DEFAULTS['router.features'].value;
  if (width <= size) return (state) => Float64Array.from(state);
  const random = new Random(0).split('router');
  const directions = Float64Array.from({ length: size * width }, () => random.normal());
  return (state) =>
    Float64Array.from({ length: size }, (_, k) => {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += directions[k * width + i]! * state[i]!;
      return sum;
    });
}

function normalized(features: Float64Array): Float64Array {
  const norm = Math.hypot(...features) || 1;
  return features.map((value) => value / norm);
}
