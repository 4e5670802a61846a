import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectNear } from '../../../test/reference.ts';
import { ToyModel, toySamples } from '../../../test/toy-learning.ts';
import { startTensors } from '../../tensors/backend.ts';
import { type TrainTask, trainTask } from '../../training/train.ts';
import type { Method } from '../method.ts';
import { orthoLora } from './index.ts';
import { withoutConflicts } from './projection.ts';

const method = orthoLora as unknown as Method;
const given = (tensors: Record<string, number[][]>) =>
  new Map(Object.entries(tensors).map(([key, rows]) => [key, tf.tensor2d(rows)]));
const numbers = (tensors: Map<string, tf.Tensor>) => [...tensors.values()].map((tensor) => [...tensor.dataSync()]);

beforeAll(() => startTensors('cpu'));

describe('the reconciled gradient', () => {
  const three = () => [
    given({ A: [[1, -2]], B: [[0.5], [1]] }),
    given({ A: [[-1, 0.5]], B: [[1], [0.25]] }),
    given({ A: [[0.25, 1]], B: [[-2], [0.5]] }),
  ];

  test('is NumPy’s, by matrix and global (test/reference/methods/ortho-lora.py)', () => {
    const [A, B] = numbers(withoutConflicts(three(), 'matrix'));
    expectNear(A!, [-0.5364705882, 0.6741176471], 1e-6, 'A');
    expectNear(B!, [0.0647058824, 2.8], 1e-6, 'B');
    const global = numbers(withoutConflicts(three(), 'global')).flat();
    expectNear(global, [-0.382972973, 0.0783783784, -0.7410810811, 3.1591891892], 1e-6, 'all');
  });

  test('of two is at right angles to neither’s part that it took away', () => {
    const [a, b] = [given({ A: [[3, 1]] }), given({ A: [[-1, 2]] })];
    const freed = withoutConflicts([a, b], 'matrix').get('A')!;
    // a without b, and b without a, each orthogonal to the other one as it was.
    const [x, y] = freed.dataSync() as Float32Array;
    const [ga, gb] = [
      [3 - 0.2, 1 + 0.4],
      [-1 + 0.3, 2 + 0.1],
    ] as const;
    expect(ga[0]! * -1 + ga[1]! * 2).toBeCloseTo(0, 6);
    expect(gb[0]! * 3 + gb[1]! * 1).toBeCloseTo(0, 6);
    expectNear([x!, y!], [ga[0]! + gb[0]!, ga[1]! + gb[1]!], 1e-6, 'sum');
  });

  test('is the plain sum where nothing conflicts, and of a gradient that is zero', () => {
    const agreeing = [given({ A: [[1, 2]] }), given({ A: [[2, 0.5]] }), given({ A: [[0, 0]] })];
    expect(numbers(withoutConflicts(agreeing, 'matrix'))).toEqual([[3, 2.5]]);
  });
});

describe('in training', () => {
  let model: ToyModel;
  beforeAll(() => {
    model = new ToyModel();
  });
  afterAll(() => model.dispose());

  const learn = async (options: object, changed: Partial<Method> = {}) => {
    const log: number[] = [];
    const run: TrainTask = {
      ...{ model, layers: model.layers, bank: null, task: 'new', samples: toySamples(10, 2) },
      method: { ...method, ...changed },
      options: method.options.parse({ rank: 2, alpha: 4, ...options }),
      rehearsed: [
        { task: 'a', samples: toySamples(6, 5) },
        { task: 'b', samples: toySamples(6, 3) },
      ],
      features: () => {
        throw new Error('no images here');
      },
      training: {
        ...{ learningRate: 0.05, batchSize: 6, microBatchSize: 2, epochs: 3 },
        ...{ warmupRatio: 0, weightDecay: 0, clipNorm: 0 },
      },
      ...{ seed: 5, identity: {}, checkpointSeconds: Number.POSITIVE_INFINITY, signal: new AbortController().signal },
      onProgress: ({ loss }) => void log.push(loss),
    };
    return { ...(await trainTask(run)), log };
  };
  const sum: Method['reconcile'] = (gradients) =>
    new Map([...gradients[0]!.keys()].map((key) => [key, tf.addN(gradients.map((group) => group.get(key)!))]));

  test.each(['joint', 'replay'])('%s: groups that are only added up train as the batch does', async (mode) => {
    const [together, grouped] = [
      await learn({ mode }, { reconcile: undefined as never }),
      await learn({ mode }, { reconcile: sum }),
    ];
    expectNear(grouped.log, together.log, 1e-5, 'losses');
    for (const [key, { data }] of together.bank.tensors)
      expectNear(grouped.bank.tensors.get(key)!.data, data, 1e-4, key);
  });

  test.each(['joint', 'replay'])('%s: conflicts change what is learned, and the granularity matters', async (mode) => {
    const runs = [
      await learn({ mode }, { reconcile: sum }),
      await learn({ mode }),
      await learn({ mode, granularity: 'global' }),
    ];
    const ends = runs.map(({ bank }) => [...bank.tensors.get('shared/body/lora_B')!.data].join());
    const [added, byMatrix, global] = ends;
    expect(byMatrix).not.toBe(added);
    expect(byMatrix).not.toBe(global);
    for (const { log } of runs) expect(log.at(-1)).toBeLessThan(log[0]!);
  });
});
