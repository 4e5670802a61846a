import { LiloraError } from '../../core/errors.ts';
import { readTensorMap, writeSafetensors } from '../../core/safetensors.ts';
import { fromHost, type Matrix, matrix, toHost } from '../tensors/linalg.ts';

/**
 * All that a router keeps of a task. Every task has its own, so routers of any set of tasks are solved exactly, in
 * whatever order the tasks came, and a task that is removed leaves nothing.
 */
export interface TaskStatistics {
  /** Number of prompts. */
  readonly count: number;
  /** Their mean, [width]. */
  readonly mean: Float64Array;
  /** Σ (x − mean)(x − mean)ᵀ, [width, width]. */
  readonly scatter: Matrix;
}

/** Statistics of the features of a task's prompts, all of one width. `BadDataset` where there are none. */
export function statisticsOf(features: ReadonlyArray<ArrayLike<number>>): TaskStatistics {
  const count = features.length;
  if (count === 0) throw new LiloraError('BadDataset', 'A task without prompts cannot be routed to. Add samples.');
  const width = features[0]!.length;
  const mean = new Float64Array(width);
  for (const x of features) for (let i = 0; i < width; i++) mean[i]! += x[i]! / count;
  const scatter = matrix(width, width);
  for (const x of features)
    for (let i = 0; i < width; i++) {
      const from = x[i]! - mean[i]!;
      for (let j = 0; j < width; j++) scatter.data[i * width + j]! += from * (x[j]! - mean[j]!);
    }
  return { count, mean, scatter };
}

/** As a safetensors file: `mean` and `scatter` with `count`, in float32. */
export function writeStatistics({ count, mean, scatter }: TaskStatistics): Uint8Array {
  const tensors = new Map([
    ['count', { shape: [1], data: Float32Array.of(count) }],
    ['mean', { shape: [mean.length], data: Float32Array.from(mean) }],
    ['scatter', toHost(scatter)],
  ]);
  return writeSafetensors(tensors, { format: 'lilora-routing-1' });
}

/** Reads such a file. `IntegrityError` when it is another one. @param file its name, for messages */
export function readStatistics(bytes: Uint8Array, file: string): TaskStatistics {
  const tensors = readTensorMap(bytes, file);
  const [count, mean, scatter] = ['count', 'mean', 'scatter'].map((name) => tensors.get(name));
  const width = mean?.data.length ?? 0;
  if (!count || !mean || !scatter || width === 0 || scatter.shape.join() !== `${width},${width}`)
    throw new LiloraError('IntegrityError', `${file} holds no router statistics of a task. Restore it from a copy.`);
  return { count: count.data[0]!, mean: Float64Array.from(mean.data), scatter: fromHost(scatter) };
}
