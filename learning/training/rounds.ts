import { LiloraError } from '../../core/errors.ts';
import { sizeOf, type TensorMap } from '../../core/host-tensor.ts';
import type { Bank, Trainable } from '../methods/method.ts';
import { writeCheckpoint } from './checkpoint.ts';
import { trainingLoop } from './loop.ts';
import type { TrainingOptions } from './options.ts';
import { Random } from './random.ts';
import { stepsOf } from './sampler.ts';
import { beginTask, checkpointing, resumeState, type TrainTask, trainsAnything } from './train.ts';

/**
 * Training over several workers in rounds, as DiLoCo does (arXiv 2311.08105): every worker trains on its shard of the
 * samples for some steps from the same weights; the weights move by an outer step on the mean of the differences; and so
 * on. Each worker keeps its own moments, and one learning-rate schedule goes over all rounds. "Workers" are shards: the
 * result is the same on however many machines they run.
 */
export interface Rounds {
  /** Shards, and so workers that can train side by side. */
  readonly workers: number;
  /** Steps of one worker between two averages; the last round may be shorter. */
  readonly roundSteps: number;
}

/** Nesterov momentum on the averaged differences. */
export interface Outer {
  readonly learningRate: number;
  readonly momentum: number;
}

/** Steps of each worker and rounds in all. Workers whose shard is one sample short take as many steps as the others. */
export function roundPlan(
  samples: number,
  training: Pick<TrainingOptions, 'epochs' | 'batchSize'>,
  { workers, roundSteps }: Rounds,
): { readonly steps: number; readonly rounds: number } {
  if (samples < workers)
    throw new LiloraError(
      'BadConfig',
      `${samples} training samples cannot be shared among ${workers} workers. Lower training.workers.`,
    );
  const steps = stepsOf(Math.ceil(samples / workers), training);
  return { steps, rounds: Math.ceil(steps / roundSteps) };
}

/**
 * The samples of one worker, as ascending indices: dealt out from a random order that seed and task decide. Shards are
 * disjoint, cover all, and differ by one at most.
 */
export function shardOf(
  { seed, task }: Pick<TrainTask, 'seed' | 'task'>,
  samples: number,
  workers: number,
  worker: number,
): Int32Array {
  return new Random(seed)
    .split(`shards ${task}`)
    .permutation(samples)
    .filter((_, i) => i % workers === worker)
    .sort();
}

/** One worker's part of one round. `resume` is a checkpoint within this round. */
export interface TrainRound extends TrainTask {
  /** This worker's shard. */
  readonly samples: TrainTask['samples'];
  /** Of the whole training: see `roundPlan`. */
  readonly steps: number;
  readonly rounds: Rounds;
  /** From 0. */
  readonly worker: number;
  /** From 0. */
  readonly round: number;
  /** Averaged weights and this worker's `inner` of the round before; null in the first round. */
  readonly from: { readonly weights: TensorMap; readonly inner: Uint8Array } | null;
}

export interface TrainedRound {
  /** The bank that training began with: the stream's, or the one that the method started for the first task. */
  readonly bank: Bank;
  /** What was trained, by `<module path>/<tensor>`. */
  readonly weights: TensorMap;
  /** Moments and position of this worker, for its next round: a checkpoint without weights. */
  readonly inner: Uint8Array;
  /** As in `trainTask`. */
  readonly whyEager: string | null;
}

/** Trains one worker for one round. Deterministic, and resumable within the round, as `trainTask` is; the same errors. */
export async function trainRound(run: TrainRound): Promise<TrainedRound> {
  const { task, steps, worker, round, rounds, from, seed } = run;
  const { bank, trainable, random } = run.begun ?? beginTask(run);
  const own = random.split(`train ${task}`);
  // Moments are only good for the worker that they are of.
  const position = { seed, identity: { task, worker: String(worker), workers: String(rounds.workers) } };
  const hooks = checkpointing(run);
  const start = () => from && { ...resumeState(from.inner, position, steps), weights: from.weights };
  const { state, whyEager } = trainsAnything(trainable)
    ? await trainingLoop({
        ...run,
        ...hooks,
        trainable,
        random: worker === 0 ? own : own.split(`worker ${worker}`), // one worker alone draws what plain training draws
        penalty: true,
        part: { steps, until: Math.min(steps, (round + 1) * rounds.roundSteps) },
        resume: () => hooks.resume(steps) ?? start(),
      })
    : { state: null, whyEager: null };
  const { weights, ...moments } = state ?? { step: steps, weights: new Map(), first: new Map(), second: new Map() };
  const optimizer = { ...moments, weights: new Map() };
  return { bank, weights, inner: writeCheckpoint({ optimizer, steps, ...position }), whyEager };
}

/** The weights that the first round starts from: what a method trains, at its start. */
export function startWeights({ tensors }: Trainable): TensorMap {
  const trained = [...tensors].filter(([, { trained }]) => trained);
  return new Map(trained.map(([key, { start }]) => [key, start]));
}

/** The bank with the weights of the last round in it. */
export function finishRounds(
  run: Pick<TrainTask, 'method' | 'options' | 'task' | 'seed'> & { readonly bank: Bank },
  weights: TensorMap,
): Bank {
  const { bank, trainable } = beginTask({ ...run, layers: run.bank.layers });
  return run.method.finish(bank, trainable, weights);
}

/** Sums up workers' weights one after another, so that one of them at a time is in memory. Float64. */
export class WeightMean {
  private sums: Map<string, Float64Array> | null = null;
  private count = 0;

  /** `IntegrityError` when names or sizes differ from those of the workers before. */
  add(weights: TensorMap): void {
    this.count++;
    if (!this.sums) {
      this.sums = new Map([...weights].map(([key, { data }]) => [key, Float64Array.from(data)]));
      return;
    }
    mustFit(this.sums, weights);
    for (const [key, sum] of this.sums) {
      const { data } = weights.get(key)!;
      for (let i = 0; i < sum.length; i++) sum[i]! += data[i]!;
    }
  }

  /** The means; the object must not be used further. */
  take(): Map<string, Float64Array> {
    const sums = this.sums ?? new Map<string, Float64Array>();
    for (const sum of sums.values()) for (let i = 0; i < sum.length; i++) sum[i]! /= this.count;
    return sums;
  }
}

/**
 * The outer step. With Δ = before − mean, the outer gradient of DiLoCo, and PyTorch's SGD(nesterov=True):
 * u ← μ u + Δ;  after = before − η (Δ + μ u), computed as mean − (η μ u − (1 − η) Δ), which for η = 1 and μ = 0 is
 * the mean to the last bit.
 * @param before weights that the round started from
 * @param mean of the workers' weights at its end, float64
 * @param velocity u of the round before; null in the first
 */
export function outerStep(
  before: TensorMap,
  mean: ReadonlyMap<string, Float64Array>,
  velocity: TensorMap | null,
  { learningRate, momentum }: Outer,
): { weights: TensorMap; velocity: TensorMap } {
  mustFit(mean, before);
  if (velocity) mustFit(mean, velocity);
  const [weights, next]: [TensorMap, TensorMap] = [new Map(), new Map()];
  for (const [key, { shape, data }] of before) {
    const [average, old] = [mean.get(key)!, velocity?.get(key)?.data];
    const [after, u] = [new Float32Array(data.length), new Float32Array(data.length)];
    for (let i = 0; i < data.length; i++) {
      const gradient = data[i]! - average[i]!;
      const speed = momentum * (old?.[i] ?? 0) + gradient;
      u[i] = speed;
      after[i] = average[i]! - (learningRate * momentum * speed - (1 - learningRate) * gradient);
    }
    weights.set(key, { shape, data: after });
    next.set(key, { shape, data: u });
  }
  return { weights, velocity: next };
}

function mustFit(wanted: ReadonlyMap<string, Float64Array>, found: TensorMap): void {
  const fits = (key: string, size: number) => found.has(key) && sizeOf(found.get(key)!.shape) === size;
  const differs = [...wanted].find(([key, { length }]) => !fits(key, length))?.[0];
  if (found.size === wanted.size && differs === undefined) return;
  const problem = `The workers of a round trained other tensors (${differs ?? `${found.size} instead of ${wanted.size}`})`;
  throw new LiloraError('IntegrityError', `${problem}. Cancel the task and submit it again.`);
}
