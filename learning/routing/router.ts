import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import { type Matrix, matrix, ridge, scale, solve, trace } from '../tensors/linalg.ts';
import type { TaskStatistics } from './statistics.ts';

/** How a task is chosen from the features of a prompt. */
export type RouterKind = 'centroid' | 'lda';

/** A task and what a router keeps of it. */
export interface RoutedTask {
  readonly task: string;
  readonly statistics: TaskStatistics;
}

/** Chooses a task for a prompt. */
export interface Router {
  /** In the order of `scores`. */
  readonly tasks: readonly string[];
  /** One number for every task: the highest is chosen. Cosines for `centroid`, log-odds up to a constant for `lda`. */
  scores(features: ArrayLike<number>): number[];
  /** The task of the highest score; the earlier one of two that are equal. */
  choose(features: ArrayLike<number>): string;
}

/** A router over these tasks. `BadConfig` where there are none or their widths differ. */
export function routerOf(kind: RouterKind, tasks: readonly RoutedTask[]): Router {
  const width = tasks[0]?.statistics.mean.length ?? 0;
  if (width === 0 || tasks.some(({ statistics }) => statistics.mean.length !== width))
    throw new LiloraError('BadConfig', 'A router needs statistics of at least one task, all of one model.');
  const { weights, biases } = kind === 'centroid' ? centroids(tasks, width) : discriminants(tasks, width);
  const names = tasks.map(({ task }) => task);
  const scores = (features: ArrayLike<number>) => {
    if (features.length !== width)
      throw new LiloraError('BadConfig', `${features.length} features for a router of ${width}. Use the same model.`);
    return names.map((_, t) => {
      let sum = biases[t]!;
      for (let i = 0; i < width; i++) sum += weights.data[t * width + i]! * features[i]!;
      return sum;
    });
  };
  const choose = (features: ArrayLike<number>) => {
    const all = scores(features);
    return names[all.indexOf(Math.max(...all))]!;
  };
  return { tasks: names, scores, choose };
}

/** One weight vector for every task, [tasks, width], and one bias. */
interface Linear {
  readonly weights: Matrix;
  readonly biases: readonly number[];
}

/** Nearest class mean by cosine; features come normalized. */
function centroids(tasks: readonly RoutedTask[], width: number): Linear {
  const weights = matrix(tasks.length, width);
  for (const [t, { statistics }] of tasks.entries()) {
    const norm = Math.hypot(...statistics.mean) || 1;
    for (let i = 0; i < width; i++) weights.data[t * width + i] = statistics.mean[i]! / norm;
  }
  return { weights, biases: tasks.map(() => 0) };
}

/**
 * Linear discriminant analysis with one covariance for all tasks and equal priors: w = Σ⁻¹ μ, b = −½ μᵀ Σ⁻¹ μ. Sizes of
 * training splits say nothing of what will be asked. Σ is shrunk towards a multiple of the identity, as few prompts do
 * not fill all directions: (1 − γ) Σ + γ (tr Σ / width) I.
 */
function discriminants(tasks: readonly RoutedTask[], width: number): Linear {
  const pooled = matrix(width, width);
  let freedom = -tasks.length;
  for (const { statistics } of tasks) {
    freedom += statistics.count;
    for (const [i, value] of statistics.scatter.data.entries()) pooled.data[i]! += value;
  }
  const covariance = scale(pooled, 1 / Math.max(1, freedom));
  const spread = trace(covariance);
  const shrinkage = DEFAULTS['router.shrinkage'].value;
  // Prompts that are all alike have no spread: then the nearest mean is chosen.
  const floor = spread > 0 ? (shrinkage * spread) / width : 1;
  const means = matrix(width, tasks.length);
  for (const [t, { statistics }] of tasks.entries())
    for (let i = 0; i < width; i++) means.data[i * tasks.length + t] = statistics.mean[i]!;
  const solved = solve(ridge(scale(covariance, 1 - shrinkage), floor), means);
  const weights = matrix(tasks.length, width);
  const biases = tasks.map(({ statistics }, t) => {
    let sum = 0;
    for (let i = 0; i < width; i++) {
      const weight = solved.data[i * tasks.length + t]!;
      weights.data[t * width + i] = weight;
      sum += weight * statistics.mean[i]!;
    }
    return -sum / 2;
  });
  return { weights, biases };
}
