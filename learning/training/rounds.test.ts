import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isLiloraError } from '../../core/errors.ts';
import type { HostTensor, TensorMap } from '../../core/host-tensor.ts';
import { expectNear } from '../../test/reference.ts';
import { smallOptions } from '../../test/small-learning.ts';
import { ToyModel, toyMethod, toySamples } from '../../test/toy-learning.ts';
import { type Bank, looksAtData } from '../methods/method.ts';
import { methodNamed, methodNames } from '../methods/registry.ts';
import { startTensors } from '../tensors/backend.ts';
import {
  finishRounds,
  type Outer,
  outerStep,
  type Rounds,
  roundPlan,
  shardOf,
  startWeights,
  type TrainedRound,
  trainRound,
  WeightMean,
} from './rounds.ts';
import { beginTask, type TrainTask, trainTask } from './train.ts';

const PLAIN: Outer = { learningRate: 1, momentum: 0 };
const vector = (numbers: readonly number[]): TensorMap =>
  new Map([['w', { shape: [numbers.length], data: Float32Array.from(numbers) }]]);
const values = (tensors: TensorMap) => [...tensors.get('w')!.data];
const plus = (tensors: TensorMap, move: readonly number[]) => vector(values(tensors).map((x, i) => x + move[i]!));

function meanOf(workers: readonly TensorMap[]): Map<string, Float64Array> {
  const mean = new WeightMean();
  for (const weights of workers) mean.add(weights);
  return mean.take();
}

describe('the shards of a dataset', () => {
  test('are disjoint, cover it, and differ by one sample at most', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(60), fc.nat(0xffffffff), (workers, more, seed) => {
        const samples = workers + more;
        const shards = Array.from({ length: workers }, (_, i) => [
          ...shardOf({ seed, task: 'a' }, samples, workers, i),
        ]);
        expect(shards.flat().sort((a, b) => a - b)).toEqual([...Array(samples).keys()]);
        const sizes = shards.map(({ length }) => length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThan(2);
      }),
    );
  });

  test('depend on seed and task alone; that of one worker is the dataset in its order', () => {
    const of = (seed: number, task = 'a') => [...shardOf({ seed, task }, 40, 3, 1)];
    expect(of(1)).toEqual(of(1));
    expect(of(1)).not.toEqual(of(2));
    expect(of(1)).not.toEqual(of(1, 'b'));
    expect([...shardOf({ seed: 1, task: 'a' }, 40, 1, 0)]).toEqual([...Array(40).keys()]);
  });
});

test('steps and rounds are those of the largest shard', () => {
  const training = { epochs: 2, batchSize: 16 };
  expect(roundPlan(1200, training, { workers: 1, roundSteps: 75 })).toEqual({ steps: 150, rounds: 2 });
  expect(roundPlan(1200, training, { workers: 2, roundSteps: 15 })).toEqual({ steps: 76, rounds: 6 });
  expect(roundPlan(33, training, { workers: 2, roundSteps: 3 })).toEqual({ steps: 4, rounds: 2 });
  expect(() => roundPlan(2, training, { workers: 3, roundSteps: 3 })).toThrow(/2 training samples .* 3 workers/);
});

describe('the outer step', () => {
  const moves = [
    [
      [0.5, -1, 0.25],
      [1.5, 0, -0.75],
    ],
    [
      [-0.25, 0.5, 1],
      [0.75, -0.5, 0],
    ],
    [
      [2, 0.125, -1],
      [-1, 0.375, 0.5],
    ],
    [
      [0, -2, 0.25],
      [0.5, 1, 0.25],
    ],
  ];
  const run = (outer: Outer) => {
    let [weights, velocity] = [vector([1, -2, 0.5]), null as TensorMap | null];
    return moves.map((round) => {
      const mean = meanOf(round.map((move) => plus(weights, move)));
      ({ weights, velocity } = outerStep(weights, mean, velocity, outer));
      return values(weights);
    });
  };

  // torch.optim.SGD([p], lr, momentum, nesterov=True) of PyTorch 2.15 in float64, with p.grad = mean of (p − end of worker).
  test.each([
    [
      0.7,
      0.9,
      [
        [2.33, -2.665, 0.1675],
        [3.2295, -2.9485, 0.69075],
        [4.54655, -2.87115, 0.514175],
        [5.749395, -3.624035, 0.8452575],
      ],
    ],
    [
      0.3,
      0.5,
      [
        [1.45, -2.225, 0.3875],
        [1.6375, -2.2625, 0.59375],
        [1.91875, -2.16875, 0.509375],
        [2.096875, -2.384375, 0.6171875],
      ],
    ],
    [
      1,
      0,
      [
        [2, -2.5, 0.25],
        [2.25, -2.5, 0.75],
        [2.75, -2.25, 0.5],
        [3, -2.75, 0.75],
      ],
    ],
  ])('is that of PyTorch at rate %s and momentum %s', (learningRate, momentum, expected) => {
    const rounds = run({ learningRate, momentum });
    for (const [i, row] of rounds.entries()) expectNear(row, expected[i]!, 3e-7, `round ${i}`);
  });

  test('worked by hand: two rounds of one number', () => {
    // Δ = 1: u = 1, 10 − 0.5 (1 + 0.8) = 9.1. Then Δ = 0.1: u = 0.9, 9.1 − 0.5 (0.1 + 0.72) = 8.69.
    const outer = { learningRate: 0.5, momentum: 0.8 };
    const first = outerStep(vector([10]), meanOf([vector([9])]), null, outer);
    expectNear(values(first.weights), [9.1], 1e-6, 'weights');
    expectNear(values(first.velocity), [1], 1e-6, 'velocity');
    const second = outerStep(first.weights, meanOf([plus(first.weights, [-0.1])]), first.velocity, outer);
    expectNear(values(second.weights), [8.69], 1e-6, 'weights');
  });

  const numbers = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), {
    minLength: 4,
    maxLength: 4,
  });

  test('at rate 1 without momentum it is the mean; of equal workers or one worker to the last bit', () => {
    fc.assert(
      fc.property(numbers, numbers, fc.integer({ min: 1, max: 5 }), (before, end, workers) => {
        const mean = meanOf(Array.from({ length: workers }, () => vector(end)));
        const { weights } = outerStep(vector(before), mean, vector([1, -2, 0, 3]), PLAIN);
        expect(values(weights)).toEqual(values(vector(end))); // Object.is: −0 is not 0
      }),
    );
  });

  test('does not depend on the order of workers beyond rounding, and moves with its origin', () => {
    const small = fc.array(fc.float({ noNaN: true, min: -4, max: 4 }), { minLength: 3, maxLength: 3 });
    const outer = { learningRate: 0.7, momentum: 0.9 };
    fc.assert(
      fc.property(small, fc.array(small, { minLength: 2, maxLength: 4 }), small, (before, ends, old) => {
        const step = (shift: number, workers: number[][]) => {
          const moved = (row: number[]) => vector(row.map((x) => x + shift));
          return values(outerStep(moved(before), meanOf(workers.map(moved)), vector(old), outer).weights);
        };
        expectNear(step(0, ends.toReversed()), step(0, ends), 1e-5, 'order');
        expectNear(
          step(8, ends).map((x) => x - 8),
          step(0, ends),
          2e-5,
          'origin',
        );
      }),
    );
  });

  test('refuses workers that trained other tensors', () => {
    const other = new Map([['v', vector([1]).get('w')!]]);
    expect(() => meanOf([vector([1]), other])).toThrow(/^The workers of a round trained other tensors \(w\)/);
    expect(() => outerStep(vector([1, 2]), meanOf([vector([1])]), null, PLAIN)).toThrow(/other tensors/);
  });
});

/** What one worker gets of a whole run. */
function part(run: TrainTask, rounds: Rounds, worker: number) {
  const { steps } = roundPlan(run.samples.length, run.training, rounds);
  const chosen = shardOf(run, run.samples.length, rounds.workers, worker);
  return { ...run, samples: Array.from(chosen, (i) => run.samples[i]!), steps, rounds, worker };
}

/** All rounds one after another, as the workflow runs them. */
async function inRounds(run: TrainTask, rounds: Rounds, outer: Outer) {
  const { rounds: count } = roundPlan(run.samples.length, run.training, rounds);
  let weights: TensorMap | null = null;
  let velocity: TensorMap | null = null;
  let done: TrainedRound[] = [];
  for (let round = 0; round < count; round++) {
    const mean = new WeightMean();
    const next: TrainedRound[] = [];
    for (let worker = 0; worker < rounds.workers; worker++) {
      const from = weights && { weights, inner: done[worker]!.inner };
      next.push(await trainRound({ ...part(run, rounds, worker), round, from }));
      mean.add(next[worker]!.weights);
    }
    done = next;
    const before: TensorMap = weights ?? startWeights(beginTask(run).trainable);
    ({ weights, velocity } = outerStep(before, mean.take(), velocity, outer));
  }
  return { bank: finishRounds({ ...run, bank: done[0]!.bank }, weights!), done };
}

const bits = ({ tasks, tensors }: Bank) => [tasks, [...tensors].map(([key, { data }]) => [key, [...data]])];

describe.each(['cpu', 'tensorflow'] as const)('on %s', (engine) => {
  let model: ToyModel;
  let base: TrainTask;
  beforeAll(async () => {
    await startTensors(engine);
    model = new ToyModel();
    base = {
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
      training: {
        learningRate: 0.05,
        batchSize: 4,
        microBatchSize: 4,
        epochs: 2,
        warmupRatio: 0.1,
        weightDecay: 0.01,
        clipNorm: 1,
        dropout: 0.1,
      },
      seed: 5,
      identity: { data: 'd' },
      checkpointSeconds: Number.POSITIVE_INFINITY,
      signal: new AbortController().signal,
      onProgress: () => {},
    };
  });
  afterAll(() => model.dispose());

  test('one worker at outer rate 1 without momentum ends in the bits of plain training, task after task', async () => {
    const plain = await trainTask(base);
    const next = { ...base, task: 'two', samples: toySamples(20, 5) };
    const second = await trainTask({ ...next, bank: plain.bank });
    for (const roundSteps of [1, 3, 100]) {
      const { bank } = await inRounds(base, { workers: 1, roundSteps }, PLAIN);
      expect(bits(bank), `first task, ${roundSteps} steps`).toEqual(bits(plain.bank));
      const after = await inRounds({ ...next, bank }, { workers: 1, roundSteps }, PLAIN);
      expect(bits(after.bank), `second task, ${roundSteps} steps`).toEqual(bits(second.bank));
    }
    const moved = await inRounds(base, { workers: 1, roundSteps: 3 }, { learningRate: 0.7, momentum: 0.9 });
    expect(bits(moved.bank)).not.toEqual(bits(plain.bank));
  });

  const inRoundsToo = methodNames().filter((name) => {
    return name !== 'zero-shot' && !looksAtData(methodNamed(name), methodNamed(name).options.parse({}));
  });
  test.each(inRoundsToo)('so does %s, with its penalties', async (name) => {
    const method = methodNamed(name);
    const run = { ...base, method, options: method.options.parse(smallOptions(name)) };
    const next = { ...run, task: 'two', samples: toySamples(20, 5), bank: (await trainTask(run)).bank };
    const { bank } = await inRounds(next, { workers: 1, roundSteps: 4 }, PLAIN);
    expect(bits(bank)).toEqual(bits((await trainTask(next)).bank));
  });

  test('where training starts and how it ends needs no sum over earlier tasks, which takes minutes at 7B', async () => {
    const method = methodNamed('lilora');
    const run = { ...base, method, options: method.options.parse({ rank: 2, alpha: 4 }) };
    const { bank } = await trainTask(run);
    class Guarded extends Map<string, HostTensor> {
      override get(key: string) {
        if (key.startsWith('tasks/one/')) throw new Error(`read ${key}`);
        return super.get(key);
      }
    }
    const guarded = { ...run, task: 'two', bank: { ...bank, tensors: new Guarded(bank.tensors) } };
    const { trainable } = beginTask(guarded);
    expect(finishRounds(guarded, startWeights(trainable)).tasks).toEqual(['one', 'two']);
    expect(() => trainable.constants).toThrow('read tasks/one/');
  });

  test('a worker trains on its shard and on nothing else', async () => {
    const rounds = { workers: 2, roundSteps: 100 };
    const { samples } = part(base, rounds, 0);
    expect(samples).toHaveLength(10);
    const alone = await trainTask({ ...base, samples });
    const { bank, weights } = await trainRound({ ...part(base, rounds, 0), round: 0, from: null });
    expect(bits(finishRounds({ ...base, bank }, weights))).toEqual(bits(alone.bank));
  });

  test('resumed within a round it ends in the same bits', async () => {
    const rounds = { workers: 2, roundSteps: 3 };
    const first = await trainRound({ ...part(base, rounds, 1), round: 0, from: null });
    const checkpoints: Uint8Array[] = [];
    const run = { ...part(base, rounds, 1), round: 1, from: { weights: first.weights, inner: first.inner } };
    const onCheckpoint = async (bytes: Uint8Array) => void checkpoints.push(bytes);
    const whole = await trainRound({ ...run, checkpointSeconds: 0, onCheckpoint });
    expect(checkpoints).toHaveLength(2);
    for (const resume of checkpoints) expect(await trainRound({ ...run, resume })).toEqual(whole);
  });

  test('moments of another worker are refused', async () => {
    const rounds = { workers: 2, roundSteps: 3 };
    const from = await trainRound({ ...part(base, rounds, 1), round: 0, from: null });
    const failure = await trainRound({ ...part(base, rounds, 0), round: 1, from }).catch((error) => error);
    expect(isLiloraError(failure, 'BadConfig') && failure.message).toMatch(/worker was 1 and is 0/);
  });

  test('learns over three workers, with an outer step as in the paper', async () => {
    const training = { ...base.training, epochs: 12, batchSize: 2 };
    const losses: number[] = [];
    const run = { ...base, training, onProgress: ({ loss }: { loss: number }) => void losses.push(loss) };
    await inRounds(run, { workers: 3, roundSteps: 8 }, { learningRate: 0.7, momentum: 0.9 });
    const mean = (part: number[]) => part.reduce((a, b) => a + b, 0) / part.length;
    expect(mean(losses.slice(-24))).toBeLessThan(0.5 * mean(losses.slice(0, 6)));
  });

  test('a method that trains nothing is done in one round', async () => {
    const nothing = {
      ...toyMethod,
      begin: (bank: Bank, task: string) => ({
        task,
        tensors: new Map(),
        constants: new Map(),
        earlierTasks: bank.tasks,
      }),
    };
    const run = { ...part({ ...base, method: nothing }, { workers: 2, roundSteps: 3 }, 0), round: 0, from: null };
    const { bank, weights } = await trainRound(run);
    expect(weights.size).toBe(0);
    expect(finishRounds({ ...run, bank }, weights).tasks).toEqual(['one']);
  });
});
