import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectNear } from '../../../test/reference.ts';
import { ToyModel, toySamples } from '../../../test/toy-learning.ts';
import { startTensors } from '../../tensors/backend.ts';
import { distillation } from '../../training/distillation.ts';
import { type TrainTask, trainTask } from '../../training/train.ts';
import type { Bank, Method } from '../method.ts';
import { lwf } from './index.ts';

const method = lwf as unknown as Method;

test.each(['cpu', 'tensorflow'] as const)(
  'the divergence and its gradient are NumPy’s (test/reference/methods/lwf.py), on %s',
  async (engine) => {
    await startTensors(engine);
    const rows = [
      [1, -0.5, 2],
      [0, 0.25, -1],
      [3, 1, 1],
    ];
    const taught = tf.tensor2d([
      [0.5, 0.5, 1],
      [2, -1, 0],
      [3, 1, 1],
    ]);
    const rest = { labels: tf.tensor1d([0, 0, 0], 'int32'), weights: tf.tensor1d([0.5, 0.25, 0.25]) };
    const loss = (logits: tf.Tensor) =>
      distillation({ logits: logits as tf.Tensor2D, ...rest }, taught, { temperature: 2, weight: 1.5 });
    const logits = tf.tensor2d(rows);
    expect(loss(logits).dataSync()[0]).toBeCloseTo(0.5391707, 6);
    const wanted = [0.02384515, -0.22973636, 0.20589121, -0.1976441, 0.20502141, -0.00737731, 0, 0, 0];
    expectNear(tf.grad(loss)(logits).dataSync(), wanted, 1e-6, 'gradient');
  },
);

describe('in training', () => {
  let model: ToyModel;
  beforeAll(async () => {
    await startTensors('cpu');
    model = new ToyModel();
  });
  afterAll(() => model.dispose());

  async function learn(bank: Bank | null, options: object, microBatchSize = 4) {
    const log: { loss: number; penalty: number }[] = [];
    const run: TrainTask = {
      ...{ model, layers: model.layers, bank, task: bank ? 'two' : 'one', method },
      samples: toySamples(12, bank ? 5 : 2),
      options: method.options.parse({ rank: 2, alpha: 4, ...options }),
      features: () => {
        throw new Error('no images here');
      },
      training: {
        ...{ learningRate: 0.02, batchSize: 4, microBatchSize, epochs: 8 },
        ...{ warmupRatio: 0, weightDecay: 0, clipNorm: 0 },
      },
      ...{ seed: 5, identity: {}, checkpointSeconds: Number.POSITIVE_INFINITY, signal: new AbortController().signal },
      onProgress: ({ loss, penalty }) => void log.push({ loss, penalty }),
    };
    return { ...(await trainTask(run)), log };
  }

  test('the first task has no teacher; the second starts at it, and a heavier one holds more back', async () => {
    const first = await learn(null, {});
    expect(first.log.every(({ penalty }) => penalty === 0)).toBe(true);
    const moved = async (weight: number) => {
      const { bank, log } = await learn({ ...first.bank, options: { ...first.bank.options, weight } }, { weight });
      expect(log[0]!.penalty).toBeCloseTo(0, 6);
      const before = first.bank.tensors;
      const squares = [...bank.tensors].flatMap(([key, { data }]) =>
        Array.from(data, (x, i) => (x - before.get(key)!.data[i]!) ** 2),
      );
      return { distance: Math.sqrt(squares.reduce((a, b) => a + b)), log };
    };
    const [free, held, tight] = [await moved(0), await moved(1), await moved(100)];
    expect(free.log.every(({ penalty }) => penalty === 0)).toBe(true);
    expect(held.log.at(-1)!.penalty).toBeGreaterThan(0);
    expect(tight.log.at(-1)!.loss).toBeGreaterThan(held.log.at(-1)!.loss);
    expect(held.log.at(-1)!.loss).toBeGreaterThan(free.log.at(-1)!.loss);
    expect(tight.distance).toBeLessThan(free.distance);
  });

  test('micro-batches add up to the whole batch', async () => {
    const { bank } = await learn(null, {});
    const [whole, ones] = [await learn(bank, {}), await learn(bank, {}, 1)];
    for (const name of ['loss', 'penalty'] as const)
      expectNear(
        ones.log.map((line) => line[name]),
        whole.log.map((line) => line[name]),
        1e-5,
        name,
      );
  });
});
