import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { TensorMap } from '../../../core/host-tensor.ts';
import { layers, learnTwo, moveShared, options } from '../../../test/lilora-banks.ts';
import { startTensors } from '../../tensors/backend.ts';
import { add, identity, inner, type Matrix, matrix, multiply, toHost } from '../../tensors/linalg.ts';
import { Random } from '../../training/random.ts';
import { bindTrainable } from '../adapter.ts';
import { ownKey, sharedKey, tensorOf } from '../bank.ts';
import type { Bank, Probe } from '../method.ts';
import { blend, type Own, ownOf, reanchoring, sharedOf, sigmoid } from './factors.ts';
import { lilora } from './index.ts';

beforeAll(async () => {
  await startTensors('cpu');
});

const given = options({ anchorMetric: 'fisher', fisherSamples: 7, stabilityWeight: 0, layerReduction: 'sum' });
const SAMPLES = 5;

const normal = (random: Random, rows: number, cols: number, size = 1) =>
  matrix(
    rows,
    cols,
    Float64Array.from({ length: rows * cols }, () => size * random.normal()),
  );

/** Gradients of the loss of samples by ΔW, [out, in] each, and a probe that gives those by B0, squared, and even inputs. */
function losses(bank: Bank, task: string, seed: number) {
  const random = new Random(seed);
  const byDelta = new Map(
    layers.map(({ name, in: inputs, out }) => [
      name,
      Array.from({ length: SAMPLES }, () => {
        const g = normal(random, out, inputs);
        // Some outputs matter more than others.
        return matrix(
          out,
          inputs,
          g.data.map((x, i) => x * (1 + Math.floor(i / inputs))),
        );
      }),
    ]),
  );
  const squares: TensorMap = new Map(
    [...byDelta].map(([name, gradients]) => {
      const { A, B0 } = sharedOf(bank, name);
      // ∂L/∂B0 = α · (alpha / rank) · ∂L/∂ΔW · Aᵀ
      const factor = sigmoid(ownOf(bank, task, name).a) * (given.alpha / given.rank);
      const mean = matrix(B0.rows, B0.cols);
      for (const gradient of gradients)
        for (const [i, x] of multiply(gradient, A, false, true).data.entries())
          mean.data[i]! += (factor * x) ** 2 / SAMPLES;
      return [`${name}/B0`, toHost(mean)];
    }),
  );
  const moments: TensorMap = new Map(layers.map(({ name, in: size }) => [name, toHost(identity(size))]));
  const gradients: Probe['gradients'] = async (_adapter, request) => {
    expect(request).toEqual({ squared: true, samples: 7 });
    return squares;
  };
  const probe = { inputMoments: async () => moments, gradients } as unknown as Probe;
  return { byDelta, probe };
}

async function learnedTwo() {
  const { first, second } = learnTwo(given);
  const [a, b] = [losses(first, 'a', 5), losses(second, 'b', 6)];
  const one = await lilora.after!(first, 'a', given, a.probe, null as never);
  const kept = [...one.tensors].filter(([key]) => /moments|sensitivity/.test(key));
  const tensors = new Map([...second.tensors, ...kept]);
  const bank = await lilora.after!({ ...second, tensors }, 'b', given, b.probe, null as never);
  return { first, bank, seen: { a: a.byDelta, b: b.byDelta } };
}

/** Squares of the rows of gradients by ΔW in the directions of A, per unit of ΔW; 1 in the mean, and hundredth parts of it. */
function expected(bank: Bank, gradients: ReadonlyMap<string, readonly Matrix[]>, shared = bank): Map<string, number[]> {
  const rows = layers.map(({ name, out }) => {
    const { A } = sharedOf(shared, name);
    const along = gradients.get(name)!.map((gradient) => multiply(gradient, A, false, true));
    const square = (o: number) => along.reduce((sum, { data, cols }) => sum + squaredRow(data, cols, o), 0);
    return [name, Array.from({ length: out }, (_, o) => square(o) / inner(A, A))] as const;
  });
  const all = rows.flatMap(([, values]) => values);
  const mean = all.reduce((x, y) => x + y) / all.length;
  return new Map(rows.map(([name, values]) => [name, values.map((value) => 0.01 + (0.99 * value) / mean)]));
}

function squaredRow(data: Float64Array, cols: number, row: number): number {
  return data.subarray(row * cols, (row + 1) * cols).reduce((sum, x) => sum + x * x, 0);
}

describe('sensitivity', () => {
  it('is how much losses feel each output, however large α is; no task computes with it', async () => {
    const { first, bank, seen } = await learnedTwo();
    for (const [task, shared] of [
      ['a', first],
      ['b', bank],
    ] as const)
      for (const [name, rows] of expected(bank, seen[task], shared)) {
        const kept = tensorOf(bank, ownKey(task, name, 'sensitivity'));
        expect(kept.shape).toEqual([rows.length, 1]);
        for (const [o, value] of rows.entries()) expect(kept.data[o]! / value).toBeCloseTo(1, 4);
      }
    expect([...lilora.activate(bank, 'a').keys()].filter((key) => key.endsWith('sensitivity'))).toEqual([]);
    const { training } = lilora.describe(layers, given).parameters;
    expect(training).toEqual({ shared: 6 ** 2 + 5 ** 2, perTask: 5 + 7 });
  });

  it('is 1 throughout for tasks that nobody measured, and where no loss has a gradient', async () => {
    const { second } = learnTwo(given);
    const { probe } = losses(second, 'b', 6);
    const still = {
      ...probe,
      gradients: async () => new Map(layers.map(({ name, out }) => [`${name}/B0`, toHost(matrix(out, 4))])),
    };
    const bank = await lilora.after!(second, 'b', given, still as unknown as Probe, null as never);
    for (const task of ['a', 'b'])
      for (const { name, out } of layers)
        expect([...tensorOf(bank, ownKey(task, name, 'sensitivity')).data]).toEqual(Array(out).fill(1));
  });
});

it('penalizes what the losses of earlier tasks would feel', async () => {
  const { bank } = await learnedTwo();
  const trainable = lilora.begin(bank, 'c', given, new Random(3));
  const bound = bindTrainable(lilora as never, given, layers, trainable);
  moveShared(bound);
  // Σ_j ‖√S_j·((α_j·B0 + (1−α_j)·B̃_jÃ_j)·A − ΔW_j)‖², written out; the inputs are even, with 0.01 on the diagonal.
  const naive = () =>
    tf.addN(
      layers.flatMap(({ name }) =>
        ['a', 'b'].map((task) => {
          const own = ownOf(bank, task, name);
          const old = sharedOf(bank, name);
          const inEngine = (m: Matrix) => tf.tensor2d(Float32Array.from(m.data), [m.rows, m.cols]);
          const kept = inEngine(multiply(own.B, own.A));
          const B = tf.add(tf.mul(bound.active.get(name, 'B0'), sigmoid(own.a)), tf.mul(kept, sigmoid(-own.a)));
          const now = tf.matMul(B as tf.Tensor2D, bound.active.get(name, 'A') as tf.Tensor2D);
          const change = tf.sub(now, inEngine(multiply(blend(old.B0, own), old.A)));
          return tf.mul(tf.sum(tf.mul(tf.square(change), inEngine(own.sensitivity!))), 1.01);
        }),
      ),
    ) as tf.Scalar;
  const shared = [...bound.variables].filter(([key]) => /\/(A|B0)$/.test(key)).map(([, variable]) => variable);
  const ours = tf.variableGrads(() => lilora.penalty!(bound.active, given, trainable), shared);
  const wanted = tf.variableGrads(naive, shared);
  expect(ours.value.dataSync()[0]! / wanted.value.dataSync()[0]!).toBeCloseTo(1, 4);
  for (const { name } of shared) {
    const [mine, theirs] = [ours, wanted].map(({ grads }) => grads[name]!.dataSync() as Float32Array);
    const largest = theirs!.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    for (const [i, x] of theirs!.entries()) expect(Math.abs(mine![i]! - x)).toBeLessThan(1e-4 * largest);
  }
  bound.dispose();
});

it('re-anchors with the least error as losses feel it', () => {
  const random = new Random(12);
  for (let trial = 0; trial < 40; trial++) {
    const [out, r, q] = [9, 4, 1 + (trial % 3)];
    const old = { A: normal(random, r, 8), B0: normal(random, out, r) };
    const next = { A: add(old.A, normal(random, r, 8), 0.2), B0: add(old.B0, normal(random, out, r), 0.2) };
    const even: Own = { B: normal(random, out, q), A: normal(random, q, r), a: random.normal() };
    const sensitivity = matrix(
      out,
      1,
      Float64Array.from({ length: out }, () => random.normal() ** 4),
    );
    const error = (now: Own) => {
      const change = add(multiply(blend(next.B0, now), next.A), multiply(blend(old.B0, even), old.A), -1);
      return change.data.reduce((sum, x, i) => sum + x * x * sensitivity.data[Math.floor(i / change.cols)]!, 0);
    };
    const reanchor = reanchoring(old, next, { blend: false, inputs: null });
    const best = reanchor({ ...even, sensitivity });
    expect(error(best)).toBeLessThan(error(reanchor(even)));
    // No small step from there is better.
    for (let i = 0; i < 20; i++) {
      const size = 10 ** -(1 + (i % 3));
      const B = add(best.B, normal(random, out, q), size);
      const A = add(best.A, normal(random, q, r), size);
      expect(error({ ...best, B, A })).toBeGreaterThan(error(best) * (1 - 1e-6));
    }
  }
});

it('goes back to the shared factors of before, with all tasks as they were', async () => {
  const { first, bank } = await learnedTwo();
  const before = { ...first, tensors: new Map([...first.tensors]) };
  const measured = await lilora.after!(before, 'a', given, losses(first, 'a', 5).probe, null as never);
  const { bank: back } = lilora.consolidate!(measured, bank, 'b', 1);
  for (const { name } of layers) {
    expect(tensorOf(back, sharedKey(name, 'A'))).toEqual(tensorOf(first, sharedKey(name, 'A')));
    for (const tensor of ['B_tilde', 'A_tilde', 'a', 'sensitivity'])
      expect(tensorOf(back, ownKey('a', name, tensor))).toEqual(tensorOf(measured, ownKey('a', name, tensor)));
  }
});
