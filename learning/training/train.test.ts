import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isLiloraError } from '../../core/errors.ts';
import type { TensorMap } from '../../core/host-tensor.ts';
import type { EncodedSample } from '../../core/sample.ts';
import { expectNear, reference } from '../../test/reference.ts';
import { ToyModel, toyMethod, toySamples } from '../../test/toy-learning.ts';
import type { Bank, Method } from '../methods/method.ts';
import type { Adapt, BaseModel } from '../model/model.ts';
import { loadModel } from '../model/registry.ts';
import { startTensors } from '../tensors/backend.ts';
import type { StepProgress, TrainingOptions } from './options.ts';
import { clipScale } from './step.ts';
import { refit, type TrainTask, trainTask } from './train.ts';

const TRAINING: TrainingOptions = {
  learningRate: 0.05,
  batchSize: 8,
  microBatchSize: 3,
  epochs: 2,
  warmupRatio: 0.1,
  weightDecay: 0.01,
  clipNorm: 1,
};

interface Outcome {
  readonly bank: Bank;
  readonly steps: number;
  readonly log: StepProgress[];
  readonly checkpoints: { bytes: Uint8Array; step: number }[];
}

/** What a run of the toy needs; tests change single entries. */
function toyRun(model: BaseModel): TrainTask {
  return {
    model,
    method: toyMethod,
    options: { pull: 0.1 },
    layers: model.layers,
    bank: null,
    task: 'one',
    samples: toySamples(20, 2),
    features: () => {
      throw new Error('no images here');
    },
    training: TRAINING,
    seed: 5,
    identity: { data: 'd', code: 'c' },
    checkpointSeconds: Number.POSITIVE_INFINITY,
    signal: new AbortController().signal,
    onProgress: () => {},
  };
}

async function train(run: TrainTask): Promise<Outcome> {
  const log: StepProgress[] = [];
  const checkpoints: Outcome['checkpoints'] = [];
  const done = await trainTask({
    ...run,
    onProgress: (progress) => {
      log.push(progress);
      run.onProgress(progress);
    },
    onCheckpoint: async (bytes, step) => {
      checkpoints.push({ bytes, step });
      await run.onCheckpoint?.(bytes, step);
    },
  });
  return { ...done, log, checkpoints };
}

const losses = ({ log }: Outcome) => log.map(({ loss }) => loss);
const numbers = (tensors: TensorMap) => [...tensors].map(([key, { data }]) => [key, [...data]]);

async function failure(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (isLiloraError(error)) return `${error.name}: ${error.message}`;
    throw error;
  }
  return 'no failure';
}

describe.each(['cpu', 'tensorflow'] as const)('on %s', (engine) => {
  let model: ToyModel;
  let base: TrainTask;
  beforeAll(async () => {
    await startTensors(engine);
    model = new ToyModel();
    base = toyRun(model);
  });
  afterAll(() => {
    model.dispose();
    expect(tf.memory().numTensors, 'tensors left over').toBe(0);
  });

  test('learns, task after task, and logs every step', async () => {
    const training = { ...TRAINING, epochs: 10 };
    const first = await train({ ...base, training });
    expect([first.steps, first.log.length]).toEqual([30, 30]);
    expect(first.log.map(({ step }) => step)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    expect(losses(first).at(-1)).toBeLessThan(0.5 * losses(first)[0]!);
    const tokens = base.samples.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
    expect(first.log.slice(0, 3).reduce((sum, step) => sum + step.tokens, 0)).toBe(tokens);
    expect(Math.max(...first.log.map(({ learningRate }) => learningRate))).toBe(TRAINING.learningRate);
    const second = await train({ ...base, training, bank: first.bank, task: 'two', samples: toySamples(20, 5) });
    expect(second.bank.tasks).toEqual(['one', 'two']);
    expect(second.log[0]!.penalty).toBe(0);
    expect(second.log.at(-1)!.penalty).toBeGreaterThan(0);
    expect(second.bank.tensors.get('tasks/one/body/B')).toEqual(first.bank.tensors.get('tasks/one/body/B'));
  });

  test('takes smaller micro-batches where memory does not hold them, and ends as if they had been asked for', async () => {
    const training = { ...TRAINING, microBatchSize: 8 };
    const longest = Math.max(...base.samples.map(({ inputIds }) => inputIds.length));
    const cramped = (rows: number) =>
      Object.assign(Object.create(model) as ToyModel, {
        answersOf: (inputs: Parameters<ToyModel['answersOf']>[0], adapt: Adapt) => {
          if (inputs.ids.size <= rows * Math.ceil(longest / 8) * 8) return model.answersOf(inputs, adapt);
          throw new Error('OOM when allocating tensor');
        },
      });
    const found = await train({ ...base, model: cramped(2), training });
    const asked = await train({ ...base, training: { ...training, microBatchSize: 2 } });
    expect(numbers(found.bank.tensors)).toEqual(numbers(asked.bank.tensors));
    await expect(train({ ...base, model: cramped(0), training })).rejects.toThrow('OOM');
  });

  test('resumed at any step it ends in the same bits', async () => {
    const run = { ...base, checkpointSeconds: 0, training: { ...TRAINING, dropout: 0.2 } };
    const whole = await train(run);
    expect(whole.checkpoints.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
    for (const { bytes, step } of whole.checkpoints) {
      const rest = await train({ ...run, resume: bytes });
      expect(losses(rest), `from step ${step}`).toEqual(losses(whole).slice(step));
      expect(numbers(rest.bank.tensors), `from step ${step}`).toEqual(numbers(whole.bank.tensors));
    }
    const again = await train({ ...base, training: run.training });
    expect(numbers(again.bank.tensors)).toEqual(numbers(whole.bank.tensors));
    expect(again.checkpoints).toEqual([]);
    const otherSeed = await train({ ...run, seed: 6 });
    expect(numbers(otherSeed.bank.tensors)).not.toEqual(numbers(whole.bank.tensors));
  });

  test('cancelled, it leaves a checkpoint that ends in the same bits', async () => {
    const whole = await train(base);
    const abort = new AbortController();
    const left: Uint8Array[] = [];
    const message = await failure(
      train({
        ...base,
        signal: abort.signal,
        onProgress: ({ step }) => step === 4 && abort.abort(),
        onCheckpoint: async (bytes) => void left.push(bytes),
      }),
    );
    expect(message).toBe('Cancelled: Training of one was cancelled after step 4 of 6.');
    const rest = await train({ ...base, resume: left[0] });
    expect(left.length).toBe(1);
    expect(rest.log.map(({ step }) => step)).toEqual([5, 6]);
    expect(numbers(rest.bank.tensors)).toEqual(numbers(whole.bank.tensors));
  });

  test('micro-batches add up to the whole batch', async () => {
    const [whole, ones, threes] = await Promise.all(
      [8, 1, 3].map((microBatchSize) => train({ ...base, training: { ...TRAINING, microBatchSize } })),
    );
    for (const part of [ones!, threes!]) {
      expectNear(losses(part), losses(whole!), 1e-5, 'losses');
      const norms = ({ log }: Outcome) => log.map(({ gradientNorm }) => gradientNorm);
      expectNear(norms(part), norms(whole!), 1e-4, 'gradient norms', true);
      for (const [key, { data }] of whole!.bank.tensors) {
        expectNear(part.bank.tensors.get(key)!.data, data, 1e-4, key);
      }
    }
  });

  test('clipping reaches the weights, and a high limit changes nothing', async () => {
    const clipped = async (clipNorm: number) => {
      const { bank, log } = await train({ ...base, training: { ...TRAINING, clipNorm } });
      return { tensors: numbers(bank.tensors), norms: log.map(({ gradientNorm }) => gradientNorm) };
    };
    const [free, high, low] = [await clipped(0), await clipped(1e6), await clipped(1e-7)];
    expect(high).toEqual(free);
    expect(low.norms[0], 'the norm before clipping').toBe(free.norms[0]);
    expect(low.tensors).not.toEqual(free.tensors);
  });

  test('the number of tensors stays the same from step to step', async () => {
    const counts: number[] = [];
    const before = tf.memory().numTensors;
    const onProgress = () => void counts.push(tf.memory().numTensors);
    await train({ ...base, checkpointSeconds: 0, training: { ...TRAINING, dropout: 0.1 }, onProgress });
    expect(new Set(counts).size, counts.join()).toBe(1);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('a loss that is no number stops with step and samples, and leaves nothing', async () => {
    const before = tf.memory().numTensors;
    const training = { ...TRAINING, learningRate: 1e38, warmupRatio: 0 };
    const message = await failure(train({ ...base, training }));
    expect(message).toMatch(/^NonFiniteLoss: Training of one, step [2-6]: loss \S+, penalty \S+, .*: sample-\d+, /);
    expect(tf.memory().numTensors).toBe(before);
  });

  test('methods may change gradients, and slow the shared part down', async () => {
    const still: Method = {
      ...toyMethod,
      adjust: (gradients) => new Map([...gradients].map(([key, g]) => [key, key.endsWith('/B') ? tf.zerosLike(g) : g])),
    };
    const training = { ...TRAINING, weightDecay: 0 };
    const own = (bank: Bank) => bank.tensors.get('tasks/one/body/B')!.data;
    const shared = (bank: Bank) => bank.tensors.get('shared/body/A')!.data;
    const [adjusted, slow] = [
      await train({ ...base, training, method: still }),
      await train({ ...base, training, options: { pull: 0, sharedLearningRate: 0 } }),
    ];
    const started = await train({ ...base, training: { ...training, learningRate: 1e-30 } });
    expect(own(adjusted.bank)).toEqual(own(started.bank));
    expect(shared(adjusted.bank)).not.toEqual(shared(started.bank));
    expect(shared(slow.bank)).toEqual(shared(started.bank));
    expect(own(slow.bank)).not.toEqual(own(started.bank));
  });

  test('a refit moves the own tensors of its task and nothing else', async () => {
    const first = await train(base);
    const { bank } = await train({ ...base, bank: first.bank, task: 'two', samples: toySamples(20, 5) });
    const moved = new Map([...bank.tensors].map(([key, t]) => [key, key.startsWith('shared') ? scaled(t) : t]));
    const log: StepProgress[] = [];
    const refitted = await refit({
      ...base,
      bank: { ...bank, tensors: moved },
      task: 'two',
      samples: toySamples(20, 5),
      onProgress: (progress) => void log.push(progress),
    });
    expect(refitted.tasks).toEqual(['one', 'two']);
    expect([...refitted.tensors.keys()]).toEqual([...moved.keys()]);
    const changed = [...moved].filter(([key, { data }]) => `${refitted.tensors.get(key)!.data}` !== `${data}`);
    expect(changed.map(([key]) => key).sort()).toEqual(['tasks/two/body/B', 'tasks/two/head/B']);
    expect(log.every(({ penalty }) => penalty === 0)).toBe(true);
  });
});

const scaled = ({ shape, data }: { shape: readonly number[]; data: Float32Array }) => ({
  shape,
  data: data.map((x) => 0.8 * x),
});

describe('refusals', () => {
  let model: ToyModel;
  let base: TrainTask;
  beforeAll(async () => {
    await startTensors('cpu');
    model = new ToyModel();
    base = toyRun(model);
  });
  afterAll(() => model.dispose());

  test('a checkpoint of another run or a damaged one', async () => {
    const { checkpoints } = await train({ ...base, checkpointSeconds: 0 });
    const { bytes } = checkpoints[1]!;
    const refused = (change: Partial<TrainTask>) => failure(train({ ...base, resume: bytes, ...change }));
    expect(await refused({ identity: { data: 'other', code: 'c' } })).toMatch(/^BadConfig: .*data was d and is other/);
    expect(await refused({ seed: 9 })).toMatch(/^BadConfig: The checkpoint has seed 5/);
    expect(await refused({ training: { ...TRAINING, epochs: 3 } })).toMatch(/^BadConfig: .*6 steps, but .* 9 steps/);
    expect(await refused({ layers: model.layers.slice(1) })).toMatch(/^BadConfig: .*other tensors/);
    expect(await refused({ resume: bytes.slice(0, -1) })).toMatch(/^IntegrityError/);
    expect(tf.memory().numTensors).toBe(3);
  });

  test.each([
    ['batchSize', 0],
    ['microBatchSize', 1.5],
    ['learningRate', Number.NaN],
    ['epochs', 0],
    ['warmupRatio', 2],
    ['weightDecay', -1],
    ['clipNorm', Number.POSITIVE_INFINITY],
    ['dropout', 1],
  ])('training.%s of %s', async (name, value) => {
    const message = await failure(train({ ...base, training: { ...TRAINING, [name]: value } }));
    expect(message).toMatch(new RegExp(`^BadConfig: training.${name} is ${value}`));
  });

  test('no samples, or a batch without an answer', async () => {
    expect(await failure(train({ ...base, samples: [] }))).toMatch(/^BadDataset: Task one has no training samples/);
    const mute: EncodedSample[] = base.samples.map((s) => ({ ...s, labels: s.inputIds.map(() => -100) }));
    expect(await failure(train({ ...base, samples: mute }))).toMatch(/^BadDataset: No token carries loss .*sample-/);
  });

  test('cancelled before the first step there is nothing to save', async () => {
    const message = await failure(
      train({ ...base, signal: AbortSignal.abort(), onCheckpoint: () => Promise.reject(new Error('not this')) }),
    );
    expect(message).toMatch(/^Cancelled: .*after step 0 of 6/);
  });

  test('a method that trains nothing is done at once', async () => {
    const nothing: Method = {
      ...toyMethod,
      begin: (bank, task) => ({ task, tensors: new Map(), constants: new Map(), earlierTasks: bank.tasks }),
    };
    const done = await train({ ...base, method: nothing });
    expect([done.steps, done.bank.tasks, done.log]).toEqual([0, ['one'], []]);
  });
});

test('clipping scales down to the limit and never up', () => {
  const scale = (norm: number, limit: number) => tf.tidy(() => clipScale(tf.scalar(norm), limit).dataSync()[0]);
  expect(scale(4, 1)).toBeCloseTo(0.25, 6);
  expect(scale(0.5, 1)).toBe(1);
  expect(scale(1000, 10)).toBeCloseTo(0.01, 6);
});

describe.each([
  ['tensorflow', 5],
  ['cpu', 2],
] as const)('llava-mha on %s', (engine, epochs) => {
  test('resumed at any step it ends in the same bits', { timeout: 120_000 }, async () => {
    await startTensors(engine);
    const ref = reference('llava-mha');
    const model = await loadModel(join(ref.folder, 'model'));
    const batch = ref.batch('train');
    const features = ref.features('train', model)!;
    const samples = Array.from({ length: batch.rows }, (_, row): EncodedSample => {
      const from = row * batch.length;
      const real = (values: Int32Array) =>
        values.slice(from, from + batch.length).filter((_, i) => batch.attentionMask[from + i]);
      const inputIds = real(batch.inputIds);
      const images = inputIds.filter((id) => id === model.imageToken).length / features.shape[1];
      const digests = Array.from({ length: images }, (_, i) => `${row}/${i}`);
      return { id: `row-${row}`, inputIds, labels: real(batch.labels!), images: digests, references: [] };
    });
    const order = samples.flatMap(({ images }) => images);
    const run: TrainTask = {
      ...toyRun(model),
      layers: model.layers.filter(({ name }) => ref.json.lora.modules.includes(name)),
      samples,
      features: (digests) =>
        tf.gather(
          features,
          tf.tensor1d(
            digests.map((digest) => order.indexOf(digest)),
            'int32',
          ),
        ) as tf.Tensor3D,
      training: { ...TRAINING, learningRate: 1e-3, batchSize: samples.length - 1, microBatchSize: 1, epochs },
      checkpointSeconds: 0,
    };
    const counts = new Set<number>();
    const whole = await train({ ...run, onProgress: () => void counts.add(tf.memory().numTensors) });
    expect(counts.size, [...counts].join()).toBe(1);
    expect(whole.checkpoints.length).toBe(whole.steps - 1);
    for (const { bytes, step } of whole.checkpoints) {
      const rest = await train({ ...run, resume: bytes });
      expect(numbers(rest.bank.tensors), `from step ${step}`).toEqual(numbers(whole.bank.tensors));
    }
    features.dispose();
    model.dispose();
  });
});
