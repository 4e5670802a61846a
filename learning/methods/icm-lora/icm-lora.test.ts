import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { LLAVA_LAYERS } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { ToyModel, toyRun, toySamples } from '../../../test/toy-learning.ts';
import { startTensors } from '../../tensors/backend.ts';
import { Random } from '../../training/random.ts';
import { type TrainTask, trainTask } from '../../training/train.ts';
import { readBank, writeBank } from '../bank.ts';
import { forgetTask } from '../forget.ts';
import type { Bank, Method } from '../method.ts';
import { decode, decoderShapes, paddedLength } from './decoder.ts';
import { icmLora } from './index.ts';
import { decodeOnEngine, divergenceOf, fitGenerator } from './vae.ts';
import { flatten, project, statistics, unflatten, worstError } from './weights.ts';

const method = icmLora as unknown as Method;

beforeAll(() => startTensors('tensorflow'));

/** The numbers of test/reference/methods/icm_lora.py. */
const filled = (shape: number[], at: number): HostTensor => ({
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 0.7 + at)),
});

describe('the decoder', () => {
  const shape = { channels: [2, 3], kernel: 3, latent: 2, condition: 2, size: 11 };
  const weights: TensorMap = new Map(
    [
      ['decoder.linear.weight', [4, 9], 3],
      ['decoder.linear.bias', [9], 4],
      ['decoder.1.weight', [3, 2, 3], 6],
      ['decoder.1.bias', [2], 9],
      ['decoder.0.weight', [3, 1, 2], 5],
      ['decoder.0.bias', [1], 8],
    ].map(([name, shape, at]) => [name as string, filled(shape as number[], at as number)]),
  );
  const [z, condition] = [filled([2], 1).data, filled([2], 2).data];

  it('computes what PyTorch computes (test/reference/methods/icm_lora.py), on the host and on the engine', () => {
    const golden = [
      ...[1.8567223962279527, 0.4534686337506435, -1.9069888974082652, 0.7043432816182913, 1.4331472300317936],
      ...[1.3308252288058515, 1.4423642012887732, 1.9383019936567563, -1.812088690695064, 4.804263071719356],
      6.096142793701681,
    ];
    expect(new Map([...weights].map(([name, { shape }]) => [name, shape]))).toEqual(decoderShapes(shape));
    expectNear(decode(weights, shape, z, condition), golden, 1e-5, 'host');
    const tensors = new Map([...weights].map(([name, { data, shape }]) => [name, tf.tensor(data, [...shape])]));
    const [one, other] = [tf.tensor2d(z, [1, 2]), tf.tensor2d(condition, [1, 2])];
    const made = decodeOnEngine((name) => tensors.get(name)!, shape, one, other).dataSync();
    expect(made.length).toBe(paddedLength(shape));
    expectNear(made.slice(0, 11), golden, 1e-5, 'engine');
  });

  it('agrees with itself in other shapes', () => {
    for (const [channels, kernel, size] of [
      [[3], 7, 5],
      [[2, 4, 3], 5, 40],
    ] as const) {
      const shape = { channels, kernel, latent: 3, condition: 2, size };
      const random = new Random(1);
      const weights: TensorMap = new Map(
        [...decoderShapes(shape)].map(([name, sizes]) => [name, filled(sizes, random.normal())]),
      );
      const tensors = new Map([...weights].map(([name, { data, shape }]) => [name, tf.tensor(data, [...shape])]));
      const [z, condition] = [filled([3], 1).data, filled([2], 2).data];
      const made = decodeOnEngine(
        (name) => tensors.get(name)!,
        shape,
        tf.tensor2d(z, [1, 3]),
        tf.tensor2d(condition, [1, 2]),
      );
      expectNear(decode(weights, shape, z, condition), made.dataSync().slice(0, size), 1e-5, `${channels}`);
    }
  });

  it('is fitted with the divergence of normal distributions', () => {
    const [mean, logVariance] = [filled([1, 3], 1), filled([1, 3], 2)].map(({ data }) => tf.tensor2d(data, [1, 3]));
    expect(divergenceOf(mean!, logVariance!).dataSync()[0]).toBeCloseTo(1.4284484225, 6);
  });

  describe('is fitted to tasks', () => {
    const random = new Random(1);
    const normal = (count: number) => Float32Array.from({ length: count }, () => random.normal());
    const fit = { steps: 400, batchSize: 8, learningRate: 1e-2, divergence: 0.005 };
    const shapeOf = (size: number, condition: number) => ({ channels: [4, 8], kernel: 5, latent: 4, condition, size });
    /** What is left of each task's adapter between it and the one that is made, and the steps that were told of. */
    const learn = async (tasks: { weights: Float32Array; condition: Float32Array }[], steps: number) => {
      const shape = shapeOf(tasks[0]!.weights.length, tasks[0]!.condition.length);
      const items = tasks.flatMap((task) => Array(8).fill(task));
      let signs = 0;
      const decoder = await fitGenerator(items, shape, { ...fit, steps }, new Random(2), async () => void signs++);
      const errors = tasks.map(({ weights, condition }) => {
        const made = decode(decoder, shape, new Float32Array(4), condition);
        return Math.sqrt(made.reduce((sum, x, i) => sum + (x - weights[i]!) ** 2, 0) / made.length);
      });
      return { decoder, errors, signs };
    };

    it('and learns which adapter belongs to which, the same every time', async () => {
      const tasks = [0, 1].map(() => ({ weights: normal(50), condition: normal(6) }));
      const { errors, signs } = await learn(tasks, 400);
      for (const error of errors) expect(error).toBeLessThan(0.02);
      expect(signs).toBe(400);
      expect(await learn(tasks, 3)).toEqual(await learn(tasks, 3));
    });

    it('that are told by nearly the same, or by the same', async () => {
      const common = normal(16).map((x) => 10 * x);
      const told = (by: number) => ({ weights: normal(50), condition: common.map((x, j) => x + by * Math.sin(j)) });
      const apart = { weights: normal(50), condition: common.map((x, j) => x + 2 * Math.cos(j)) };
      for (const error of (await learn([told(0.2), told(-0.2), apart], 400)).errors) expect(error).toBeLessThan(0.05);
      const same = { weights: normal(50), condition: common };
      for (const error of (await learn([same, same], 200)).errors) expect(error).toBeLessThan(0.05);
    });
  });
});

describe('weights', () => {
  const layers = [{ name: 'one', in: 3, out: 2 }];
  const adapter: TensorMap = new Map([
    ['one/lora_A', filled([2, 3], 1)],
    ['one/lora_B', filled([2, 2], 2)],
  ]);

  it('become one vector of mean 0 and deviation 1, and come back', () => {
    const stats: TensorMap = new Map([...adapter].map(([key, tensor]) => [key, statistics(tensor)]));
    const vector = flatten(layers, adapter, stats);
    const part = vector.subarray(0, 6);
    expect(part.reduce((sum, x) => sum + x, 0)).toBeCloseTo(0, 5);
    expect(part.reduce((sum, x) => sum + x * x, 0) / 6).toBeCloseTo(1, 5);
    for (const [key, { shape, data }] of unflatten(layers, 2, vector, stats)) {
      expect(shape).toEqual(adapter.get(key)!.shape);
      expectNear(data, adapter.get(key)!.data, 1e-6, key);
    }
    const still: TensorMap = new Map([
      ...adapter,
      ['one/lora_B', { shape: [2, 2], data: new Float32Array(4).fill(3) }],
    ]);
    stats.set('one/lora_B', statistics(still.get('one/lora_B')!));
    const noisy = flatten(layers, still, stats).map((x, i) => x + 0.1 * Math.sin(i));
    expect(unflatten(layers, 2, noisy, stats).get('one/lora_B')).toEqual(still.get('one/lora_B'));
  });

  it('are compared by ΔW', () => {
    const twice = new Map(
      [...adapter].map(([key, t]) => [key, { ...t, data: t.data.map((x) => (key === 'one/lora_A' ? 2 * x : x / 2)) }]),
    );
    expect(worstError(layers, twice, adapter)).toBeLessThan(1e-6);
    const larger = new Map([...adapter].map(([key, t]) => [key, { ...t, data: t.data.map((x) => 1.1 * x) }]));
    expect(worstError(layers, larger, adapter)).toBeCloseTo(0.21, 4);
  });

  it('task vectors keep their angles when they are made short', () => {
    const random = new Random(4);
    const state = (like?: Float32Array): HostTensor => ({
      shape: [400],
      data: Float32Array.from({ length: 400 }, (_, i) => random.normal() + (like ? 2 * like[i]! : 0)),
    });
    const a = state();
    const cosine = (x: Float32Array, y: Float32Array) =>
      x.reduce((sum, value, i) => sum + value * y[i]!, 0) / Math.hypot(...x) / Math.hypot(...y);
    for (const b of [state(a.data), state()])
      expect(Math.abs(cosine(project(a, 256).data, project(b, 256).data) - cosine(a.data, b.data))).toBeLessThan(0.15);
  });
});

describe('tasks', () => {
  let model: ToyModel;
  let run: TrainTask;
  let first: Bank;
  const options = (more: object = {}) =>
    icmLora.options.parse({
      ...{ rank: 2, alpha: 4, snapshots: 7, vectorSize: 6, channels: [4, 8], kernel: 5, latent: 4 },
      ...{ steps: 700, learningRate: 1e-2, maxError: 0.2, maxLossRise: 0.3 },
      ...more,
    });
  const learn = async (bank: Bank | null, task: string, shift: number, more: object = {}) =>
    (await trainTask({ ...run, bank, task, samples: toySamples(24, shift), options: options(more) })).bank;
  const names = (bank: Bank) => new Set([...bank.tensors.keys()].map((key) => key.split('/').at(-1)));

  beforeAll(async () => {
    model = new ToyModel();
    run = toyRun(model, method, options());
    first = await learn(null, 'a', 2, { generate: false });
  });
  afterAll(() => model.dispose());

  it('are made by the generator once it is as good, and go on from there', async () => {
    const second = await learn(first, 'b', 5);
    expect([...names(second)].some((name) => name === 'lora_A')).toBe(false);
    expect(second.tensors.has('model/decoder.linear.weight')).toBe(true);
    const back = readBank(writeBank(second), 'bank');
    const made = icmLora.activate(back, 'a');
    expect(worstError(model.layers, made, icmLora.activate(first, 'a'))).toBeLessThan(0.2);
    expect([...icmLora.fold!(back, 'a').layers.get('head')!.A.data]).toEqual([...made.get('head/lora_A')!.data]);
    expect([...icmLora.activate(back, 'b').keys()]).toEqual([...made.keys()]);
    expect(forgetTask(second, 'a').bank.tasks).toEqual(['b']);
    // A generator that is not good enough gives every task its LoRA back.
    const third = await learn(second, 'c', 3, { maxError: 0, steps: 1 });
    expect([...third.tensors.keys()].some((key) => key.startsWith('model/'))).toBe(false);
    expect(icmLora.activate(third, 'a')).toEqual(icmLora.activate(second, 'a'));
    expect(readBank(writeBank(third), 'bank').tasks).toEqual(['a', 'b', 'c']);
  });

  it('stay stored when their loss would rise', async () => {
    const options = { steps: 1, maxError: 1e9, maxLossRise: 0 };
    expect(names(await learn(null, 'a', 2, options)).has('lora_A')).toBe(true);
    expect(names(await learn(null, 'a', 2, { ...options, maxLossRise: 1e9 })).has('lora_A')).toBe(false);
  });

  it('lend the generator snapshots that lie around what was trained, which they leave alone', async () => {
    const seen: TensorMap[] = [];
    const watched: Method = {
      ...method,
      after: async (bank, _task, _options, _probe, { further }) => {
        seen.push(...(await further({ snapshots: 3, every: 2, rate: 0.01 })));
        return bank;
      },
    };
    const { bank } = await trainTask({ ...run, method: watched });
    expect(icmLora.activate(bank, 'a')).toEqual(icmLora.activate(first, 'a'));
    const errors = seen.map((adapter) => worstError(model.layers, adapter, icmLora.activate(first, 'a')));
    expect(errors).toHaveLength(3);
    for (const error of errors) expect(error > 0 && error < 0.1, `${errors}`).toBe(true);
  });
});

it('counts on LLaVA-1.5-7B a LoRA per task, and its vector and statistics', () => {
  const { parameters } = icmLora.describe(LLAVA_LAYERS, icmLora.options.parse({ rank: 128 }));
  expect(parameters).toEqual({ shared: 0, perTask: 187_301_888, training: { shared: 0, perTask: 4 * 98 + 64 } });
});
