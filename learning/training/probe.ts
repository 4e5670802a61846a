import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import type { HostTensor, TensorMap } from '../../core/host-tensor.ts';
import type { EncodedSample } from '../../core/sample.ts';
import { adaptWithTensors } from '../methods/adapter.ts';
import type { GradientRequest, Probe, ProbedSamples } from '../methods/method.ts';
import { roundUp } from '../model/batch.ts';
import { type Adapt, around, noAdapter } from '../model/model.ts';
import { Compiled } from '../tensors/compile.ts';
import { type Tree, tensorsOf, tidied } from '../tensors/tree.ts';
import { lossTokens, padBatch } from './batches.ts';
import { featuresReady } from './features.ts';
import type { Rehearsed } from './mixture.ts';
import { Random } from './random.ts';
import type { TrainTask } from './train.ts';

/** What a probe needs of a run. */
export type ProbedRun = Pick<
  TrainTask,
  'model' | 'method' | 'options' | 'layers' | 'task' | 'samples' | 'features' | 'training' | 'seed' | 'signal'
> & {
  /** Samples that training does not see. */
  readonly heldOut: readonly EncodedSample[];
  /** What is at hand of earlier tasks. */
  readonly rehearsed?: readonly Rehearsed[] | undefined;
  /** A sign of life after every forward pass. */
  readonly onAlive?: (() => void) | undefined;
};

type LossInputs = { readonly batch: Tree; readonly adapter: Record<string, tf.Tensor> };

/**
 * Looks at the samples of one task through the frozen model. Which samples follows from seed and task, so a run that is
 * resumed sees the same again. Dispose when done.
 */
export class TaskProbe implements Probe {
  private readonly run: ProbedRun;
  readonly random: Random;
  private readonly order: readonly EncodedSample[];
  private readonly lossGraph: Compiled<LossInputs, tf.Scalar>;
  private readonly gradientGraph: Compiled<LossInputs, Record<string, tf.Tensor>>;

  constructor(run: ProbedRun) {
    this.run = run;
    const { samples, seed, task } = run;
    this.random = new Random(seed).split(`probe ${task}`);
    const order = new Random(seed).split(`probe ${task}`).permutation(samples.length);
    this.order = Array.from(order, (i) => samples[i]!);
    this.lossGraph = new Compiled(({ batch, adapter }) => run.model.lossOf(batch, this.adapt(adapter)));
    this.gradientGraph = new Compiled(({ batch, adapter }) => {
      const names = Object.keys(adapter);
      const gradients = tf.grads((...tensors: tf.Tensor[]) =>
        run.model.lossOf(batch, this.adapt(Object.fromEntries(names.map((name, i) => [name, tensors[i]!])))),
      )(names.map((name) => adapter[name]!));
      return Object.fromEntries(names.map((name, i) => [name, gradients[i]!]));
    });
  }

  get samples(): number {
    return this.run.samples.length;
  }

  get heldOut(): number {
    return this.run.heldOut.length;
  }

  get earlier(): readonly string[] {
    return (this.run.rehearsed ?? []).filter(({ samples }) => samples.length > 0).map(({ task }) => task);
  }

  async inputMoments(adapter: TensorMap | null, samples: number): Promise<TensorMap> {
    const inputs = new Map(this.run.layers.map((layer) => [layer.name, layer.in]));
    const sums = new Map<string, tf.Tensor>();
    const watch = (adapt: Adapt): Adapt =>
      around(adapt, (inner) => (name, x, base, rows) => {
        if (inputs.has(name)) {
          const sum = sums.get(name);
          const moments = tf.matMul(x, x, true, false);
          sums.set(name, tf.keep(sum ? tf.add(sum, moments) : moments));
          sum?.dispose();
        }
        return inner(name, x, base, rows);
      });
    try {
      await this.states(adapter, samples, watch, () => {});
      return new Map(
        [...inputs].map(([name, size]) => {
          const data = sums.get(name)?.dataSync() as Float32Array | undefined;
          return [name, { shape: [size, size], data: data ?? new Float32Array(size * size) }];
        }),
      );
    } finally {
      tf.dispose([...sums.values()]);
    }
  }

  async hidden(adapter: TensorMap | null, samples: number): Promise<HostTensor> {
    let sum: Float64Array | null = null;
    let count = 0;
    await this.states(
      adapter,
      samples,
      (adapt) => adapt,
      (states, chunk) => {
        const { length } = chunk[0]!.inputIds;
        const at = chunk.map((sample, row) => row * length + lastPromptToken(sample));
        const picked = tf.tidy(() => tf.gather(states, tf.tensor1d(at, 'int32')).sum(0).dataSync());
        sum ??= new Float64Array(picked.length);
        for (const [i, value] of picked.entries()) sum[i]! += value;
        count += chunk.length;
      },
    );
    return { shape: [sum!.length], data: Float32Array.from(sum!, (value) => value / count) };
  }

  async gradients(adapter: TensorMap, { squared, samples, skip = 0 }: GradientRequest): Promise<TensorMap> {
    const chosen = this.order.filter((sample) => lossTokens(sample) > 0).slice(skip, skip + samples);
    if (chosen.length === 0) throw this.nothing();
    const tensors = onEngine(adapter);
    let sums: tf.Tensor[] = Object.values(tensors).map((tensor) => tf.zerosLike(tensor));
    try {
      for (const sample of chosen) {
        const batch = await this.batch([sample]);
        const found = Object.values(this.gradientGraph.run({ batch, adapter: tensors }));
        const next = tf.tidy(() => sums.map((sum, i) => tf.add(sum, squared ? tf.square(found[i]!) : found[i]!)));
        tf.dispose([...sums, ...found, ...tensorsOf(batch)]);
        sums = next;
        await this.alive();
      }
      const mean = (sum: tf.Tensor) => (sum.dataSync() as Float32Array).map((value) => value / chosen.length);
      return new Map(Object.keys(tensors).map((key, i) => [key, { shape: sums[i]!.shape, data: mean(sums[i]!) }]));
    } finally {
      tf.dispose([...Object.values(tensors), ...sums]);
    }
  }

  async accuracy(adapter: TensorMap | null, on: ProbedSamples, samples: number): Promise<number> {
    const chosen = this.choose(on, samples);
    const { model, features } = this.run;
    const tensors = onEngine(adapter ?? new Map());
    const adapt = this.adapt(tensors);
    let right = 0;
    try {
      for (const part of chunks(chosen, this.run.training.microBatchSize)) {
        await featuresReady(features, part);
        const batch = padBatch(part, model.padToken);
        const { length } = batch;
        const labels = batch.labels!;
        const at = Int32Array.from(labels.keys()).filter((i) => (i + 1) % length !== 0 && labels[i + 1] !== -100);
        const digests = part.flatMap(({ images }) => images);
        const seen = digests.length > 0 ? features(digests) : null;
        const best = tf.tidy(() => tf.argMax(model.logits(batch, seen, adapt, at), 1).dataSync());
        seen?.dispose();
        const wrong = new Set(at.filter((i, k) => best[k] !== labels[i + 1]).map((i) => Math.floor(i / length)));
        right += part.length - wrong.size;
        await this.alive();
      }
      return right / chosen.length;
    } finally {
      tf.dispose(Object.values(tensors));
    }
  }

  async loss(adapter: TensorMap | null, on: ProbedSamples, samples: number): Promise<number> {
    const chosen = this.choose(on, samples);
    const tensors = onEngine(adapter ?? new Map());
    let [sum, tokens] = [0, 0];
    try {
      for (const part of chunks(chosen, this.run.training.microBatchSize)) {
        const count = part.reduce((total, sample) => total + lossTokens(sample), 0);
        const batch = await this.batch(part);
        const loss = this.lossGraph.run({ batch, adapter: tensors });
        sum += loss.dataSync()[0]! * count;
        tokens += count;
        tf.dispose([loss, ...tensorsOf(batch)]);
        await this.alive();
      }
      return sum / tokens;
    } finally {
      tf.dispose(Object.values(tensors));
    }
  }

  dispose(): void {
    this.lossGraph.dispose();
    this.gradientGraph.dispose();
  }

  /** Final states of samples, rows of one length at a time, so that there is no padding to leave out. */
  private async states(
    adapter: TensorMap | null,
    samples: number,
    watch: (adapt: Adapt) => Adapt,
    onStates: (states: tf.Tensor2D, chunk: readonly EncodedSample[]) => void,
  ): Promise<void> {
    const { model, features, training } = this.run;
    const tensors = onEngine(adapter ?? new Map());
    const adapt = watch(this.adapt(tensors));
    try {
      for (const chunk of ofOneLength(this.order.slice(0, samples), training.microBatchSize)) {
        await featuresReady(features, chunk);
        const digests = chunk.flatMap(({ images }) => images);
        const seen = digests.length > 0 ? features(digests) : null;
        const states = model.hidden(padBatch(chunk, model.padToken), seen, adapt);
        onStates(states, chunk);
        tf.dispose([states, ...(seen ? [seen] : [])]);
        await this.alive();
      }
    } finally {
      tf.dispose(Object.values(tensors));
    }
  }

  /** No tensors: the base model. */
  private adapt(tensors: Record<string, tf.Tensor>): Adapt {
    const { method, options, layers } = this.run;
    const all = new Map(Object.entries(tensors));
    return all.size === 0 ? noAdapter : adaptWithTensors(method, options, layers, all);
  }

  private async batch(samples: readonly EncodedSample[]): Promise<Tree> {
    const { model, features } = this.run;
    await featuresReady(features, samples);
    const length = (longest: number) => Math.max(longest, Math.min(roundUp(longest, 8), model.contextLength));
    const digests = samples.flatMap(({ images }) => images);
    const batch = padBatch(samples, model.padToken, { length });
    return tidied(() => model.lossInputs(batch, digests.length > 0 ? features(digests) : null));
  }

  private choose(on: ProbedSamples, samples: number): readonly EncodedSample[] {
    const earlier = typeof on === 'object' ? this.run.rehearsed?.find(({ task }) => task === on.task) : undefined;
    const all = on === 'training' ? this.order : on === 'held-out' ? this.run.heldOut : (earlier?.samples ?? []);
    const chosen = all.filter((sample) => lossTokens(sample) > 0).slice(0, samples);
    if (chosen.length === 0) throw this.nothing();
    return chosen;
  }

  async alive(): Promise<void> {
    this.run.onAlive?.();
    await setImmediate();
    if (!this.run.signal.aborted) return;
    throw new LiloraError('Cancelled', `Task ${this.run.task} was cancelled while ${this.run.method.name} measured.`);
  }

  private nothing(): LiloraError {
    const { task, method } = this.run;
    return new LiloraError(
      'BadDataset',
      `Task ${task} has no sample for ${method.name} to measure. Add training samples.`,
    );
  }
}

const onEngine = (tensors: TensorMap): Record<string, tf.Tensor> =>
  Object.fromEntries([...tensors].map(([key, { data, shape }]) => [key, tf.tensor(data, [...shape])]));

const chunks = (samples: readonly EncodedSample[], size: number) =>
  Array.from({ length: Math.ceil(samples.length / size) }, (_, i) => samples.slice(i * size, (i + 1) * size));

/** The token before the first one that carries loss. */
export function lastPromptToken({ inputIds, labels }: EncodedSample): number {
  const first = labels?.findIndex((label, i) => i > 0 && label !== -100) ?? -1;
  return first > 0 ? first - 1 : inputIds.length - 1;
}

/** The samples in groups of equal length, at most so many in each. */
function ofOneLength(samples: readonly EncodedSample[], most: number): EncodedSample[][] {
  const groups: EncodedSample[][] = [];
  const open = new Map<number, EncodedSample[]>();
  for (const sample of samples) {
    const { length } = sample.inputIds;
    const group = open.get(length);
    if (group && group.length < most) group.push(sample);
    else {
      const fresh = [sample];
      open.set(length, fresh);
      groups.push(fresh);
    }
  }
  return groups;
}

/** Splits off a share of the samples that training does not see; which ones follows from seed and task. */
export function holdOut(
  { samples, seed, task }: Pick<TrainTask, 'samples' | 'seed' | 'task'>,
  share: number,
): { readonly samples: readonly EncodedSample[]; readonly heldOut: readonly EncodedSample[] } {
  const count = Math.min(samples.length - 1, Math.round(samples.length * share));
  if (count <= 0) return { samples, heldOut: [] };
  const chosen = new Set(new Random(seed).split(`held out ${task}`).permutation(samples.length).slice(0, count));
  return { samples: samples.filter((_, i) => !chosen.has(i)), heldOut: samples.filter((_, i) => chosen.has(i)) };
}
