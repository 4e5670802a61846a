import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { delta, layers, learn, learnTwo, moveShared, options } from '../../../test/lilora-banks.ts';
import { expectNear } from '../../../test/reference.ts';
import { startTensors } from '../../tensors/backend.ts';
import { add, cholesky, frobenius, type Matrix, matrix, multiply, scale, toHost } from '../../tensors/linalg.ts';
import { Random } from '../../training/random.ts';
import { bindTrainable } from '../adapter.ts';
import { ownKey, sharedKey } from '../bank.ts';
import type { Bank } from '../method.ts';
import { blend, type Own, ownOf, reanchoring, relativeChange, sharedOf, sigmoid } from './factors.ts';
import { lilora } from './index.ts';
import { anchorSums } from './penalty.ts';

beforeAll(async () => {
  await startTensors('cpu');
});

const m = (rows: number[][]) => matrix(rows.length, rows[0]!.length, rows.flat());

/** α kept, errors in ΔW. */
const PLAIN = { blend: false, inputs: null };

const inEngine = (x: Matrix) => tf.tensor2d(Float32Array.from(x.data), [x.rows, x.cols]);

describe('the golden numbers of anchoring', () => {
  const old = {
    A: m([
      [1, 0],
      [0.5, -1],
    ]),
    B0: m([
      [0.2, 0],
      [0, -0.4],
      [0.1, 0.3],
    ]),
  };
  const next = {
    A: m([
      [1.1, -0.1],
      [0.4, -0.9],
    ]),
    B0: m([
      [0.3, 0.1],
      [-0.1, -0.4],
      [0.1, 0.2],
    ]),
  };
  const one: Own = { B: m([[1], [2], [0]]), A: m([[0.5, -0.5]]), a: 0 };
  const two: Own = { B: m([[0], [1], [-1]]), A: m([[0.2, 0.4]]), a: Math.log(0.25 / 0.75) };
  const relative = (now: Own, then: Own) => relativeChange(blend(next.B0, now), next.A, blend(old.B0, then), old.A);

  it('gives a2 and the penalty', () => {
    const { a2, V, K } = anchorSums(old, [one, two]);
    expect(a2).toBeCloseTo(0.3125, 10);
    const N = add(next.A, old.A, -1);
    const M = add(next.B0, old.B0, -1);
    const sum = (x: Matrix, y: Matrix) => x.data.reduce((total, value, i) => total + value * y.data[i]!, 0);
    const R =
      sum(K, multiply(N, N, false, true)) +
      2 * sum(multiply(V, M, true), multiply(N, next.A, false, true)) +
      a2 * sum(multiply(M, M, true), multiply(next.A, next.A, false, true));
    expect(R).toBeCloseTo(0.055675, 6);
  });

  it('gives the penalty from a bank, as training computes it', () => {
    const given = options({ rank: 2, alpha: 4, innerRank: 1, stabilityWeight: 0, anchorWeight: 1 });
    const layer = { name: 'layer', in: 2, out: 3 };
    const tensors = new Map([
      [sharedKey('layer', 'A'), toHost(old.A)],
      [sharedKey('layer', 'B0'), toHost(old.B0)],
    ]);
    for (const [task, own] of Object.entries({ one, two })) {
      tensors.set(ownKey(task, 'layer', 'B_tilde'), toHost(own.B));
      tensors.set(ownKey(task, 'layer', 'A_tilde'), toHost(own.A));
      tensors.set(ownKey(task, 'layer', 'a'), { shape: [1], data: Float32Array.of(own.a) });
    }
    const bank: Bank = { method: 'lilora', options: given, layers: [layer], tasks: ['one', 'two'], tensors };
    const trainable = lilora.begin(bank, 'three', given, new Random(1));
    const bound = bindTrainable(lilora as never, given, [layer], trainable);
    const penalty = () => lilora.penalty!(bound.active, given, trainable).dataSync()[0];
    expect(penalty()).toBe(0);
    bound.variables.get('layer/A')!.assign(inEngine(next.A));
    bound.variables.get('layer/B0')!.assign(inEngine(next.B0));
    expect(penalty()).toBeCloseTo(0.055675, 6);
    bound.dispose();
  });

  it('re-anchors both tasks', () => {
    const [a, b] = [one, two].map(reanchoring(old, next, PLAIN)) as [Own, Own];
    const close = (x: Matrix, y: number[]) => {
      for (const [i, value] of y.entries()) expect(x.data[i]).toBeCloseTo(value, 4);
    };
    close(multiply(a.B, a.A), [0.461911, -0.658057, 0.905416, -1.28989, -0.05852, 0.083369]);
    close(multiply(b.B, b.A), [-0.027791, -0.049053, 0.232797, 0.410906, -0.212629, -0.375307]);
    expect(relative(one, one)).toBeCloseTo(0.279089, 5);
    expect(relative(a, one)).toBeCloseTo(0.140396, 5);
    expect(relative(two, two)).toBeCloseTo(0.136921, 5);
    expect(relative(b, two)).toBeCloseTo(0.019438, 5);
  });
});

describe('the anchor penalty', () => {
  it('equals the sum over earlier tasks that it stands for, whatever their number, and so do its gradients', () => {
    const given = options({ anchorWeight: 1, stabilityWeight: 0, layerReduction: 'sum' });
    const { second } = learnTwo(given);
    const trainable = lilora.begin(second, 'c', given, new Random(3));
    const bound = bindTrainable(lilora as never, given, layers, trainable);
    moveShared(bound);
    // Σ_j ‖(α_j·B0 + (1−α_j)·B̃_jÃ_j)·A − ΔW_j‖², written out.
    const naive = () =>
      tf.addN(
        layers.flatMap(({ name }) =>
          ['a', 'b'].map((task) => {
            const own = ownOf(second, task, name);
            const kept = inEngine(multiply(own.B, own.A));
            const B = tf.add(tf.mul(bound.active.get(name, 'B0'), sigmoid(own.a)), tf.mul(kept, sigmoid(-own.a)));
            const now = tf.matMul(B as tf.Tensor2D, bound.active.get(name, 'A') as tf.Tensor2D);
            return tf.sum(tf.square(tf.sub(now, inEngine(delta(second, task, name)))));
          }),
        ),
      ) as tf.Scalar;
    const shared = [...bound.variables].filter(([key]) => /\/(A|B0)$/.test(key)).map(([, variable]) => variable);
    const ours = tf.variableGrads(() => lilora.penalty!(bound.active, given, trainable), shared);
    const wanted = tf.variableGrads(naive, shared);
    expect(wanted.value.dataSync()[0]).toBeGreaterThan(0.1);
    expect(ours.value.dataSync()[0]).toBeCloseTo(wanted.value.dataSync()[0]!, 4);
    expect(shared).toHaveLength(4);
    for (const { name } of shared)
      expectNear(ours.grads[name]!.dataSync(), wanted.grads[name]!.dataSync(), 1e-5, name, true);
    bound.dispose();
  });

  it('counts a layer by its share, and nothing before there is an earlier task', () => {
    const penalty = (layerReduction: string, tasks: number) => {
      const given = options({ layerReduction });
      const { first, second } = learnTwo(given);
      const bank = [lilora.start(layers, given, new Random(1)), first, second][tasks]!;
      const trainable = lilora.begin(bank, 'c', given, new Random(3));
      const bound = bindTrainable(lilora as never, given, layers, trainable);
      for (const [key, variable] of bound.variables) if (/\/(A|B0)$/.test(key)) variable.assign(tf.add(variable, 0.1));
      return lilora.penalty!(bound.active, given, trainable).dataSync()[0]!;
    };
    expect(penalty('mean', 0)).toBe(0);
    expect(penalty('mean', 1)).toBeGreaterThan(0);
    expect(penalty('sum', 2)).toBeCloseTo(2 * penalty('mean', 2), 5);
  });
});

/** Matrices of normal numbers. */
const maker =
  (random: Random) =>
  (rows: number, cols: number, size = 1) =>
    matrix(
      rows,
      cols,
      Float64Array.from({ length: rows * cols }, () => size * random.normal()),
    );

describe('re-anchoring', () => {
  it('never makes the error of ΔW larger, whatever moved', () => {
    const random = new Random(12);
    const make = maker(random);
    for (let trial = 0; trial < 60; trial++) {
      const [out, r] = [3 + (trial % 9), 1 + (trial % 5)];
      const q = 1 + (trial % r);
      const old = { A: make(r, 8), B0: make(out, r) };
      const moved = 10 ** -(trial % 4);
      const next = { A: add(old.A, make(r, 8, moved)), B0: add(old.B0, make(out, r, moved)) };
      const own: Own = { B: make(out, q), A: make(q, r), a: 2 * random.normal() };
      const error = (now: Own) => relativeChange(blend(next.B0, now), next.A, blend(old.B0, own), old.A);
      const now = reanchoring(old, next, PLAIN)(own);
      expect([now.B.rows, now.B.cols, now.A.rows, now.A.cols, now.a]).toEqual([out, q, q, r, own.a]);
      expect(error(now)).toBeLessThanOrEqual(error(own) * (1 + 1e-5) + 1e-6);
    }
  });

  it('finds the α that leaves the least error, where it may choose', () => {
    const random = new Random(13);
    const make = maker(random);
    for (let trial = 0; trial < 30; trial++) {
      const [out, r, q] = [9, 5, 1 + (trial % 3)];
      // Without an old basis a task is the same with any α, if its own part is scaled by 1/(1 − α).
      const old = { A: make(r, 8), B0: matrix(out, r) };
      const next = { A: add(old.A, make(r, 8), 0.3), B0: make(out, r) };
      const own = { B: make(out, q), A: make(q, r) };
      const as = (alpha: number): Own => ({
        B: scale(own.B, 1 / (1 - alpha)),
        A: own.A,
        a: Math.log(alpha / (1 - alpha)),
      });
      const error = (now: Own) => relativeChange(blend(next.B0, now), next.A, blend(old.B0, as(0.5)), old.A);
      const chosen = error(reanchoring(old, next, { ...PLAIN, blend: true })(as(0.5)));
      const kept = reanchoring(old, next, PLAIN);
      const errors = Array.from({ length: 44 }, (_, i) => error(kept(as(0.02 * (i + 1)))));
      expect(chosen).toBeLessThan(Math.min(...errors) + 2e-3);
    }
  });

  it('lets errors count as the inputs see them', () => {
    const random = new Random(14);
    const make = maker(random);
    for (let trial = 0; trial < 20; trial++) {
      const [out, r, q] = [9, 5, 1 + (trial % 3)];
      const old = { A: make(r, 8), B0: make(out, r) };
      const next = { A: add(old.A, make(r, 8), 0.3), B0: add(old.B0, make(out, r), 0.3) };
      const own: Own = { B: make(out, q), A: make(q, r), a: random.normal() };
      // Inputs of three directions, the rest hardly there.
      const x = add(multiply(make(8, 3), make(3, 40)), make(8, 40), 0.05);
      const inputs = cholesky(multiply(x, x, false, true));
      const change = (now: Own) => add(multiply(blend(next.B0, now), next.A), multiply(blend(old.B0, own), old.A), -1);
      const seen = (now: Own) => frobenius(multiply(change(now), x));
      const weighted = reanchoring(old, next, { blend: false, inputs })(own);
      expect(seen(weighted)).toBeLessThan(seen(reanchoring(old, next, PLAIN)(own)));
    }
  });

  it('works where the rank is above the layer’s outputs, and where there is nothing to express', () => {
    const wide = {
      A: m([
        [1, 0, 2],
        [0, 1, 1],
        [1, 1, 0],
      ]),
      B0: m([
        [0.1, 0.2, 0.3],
        [0, 0.1, 0],
      ]),
    };
    const own: Own = { B: matrix(2, 3, [1, 2, 0, 1, 0, 1]), A: matrix(3, 3, [1, 0, 0, 0, 1, 0, 0, 0, 1]), a: 0 };
    const next = {
      A: add(
        wide.A,
        m([
          [0.1, 0, 0],
          [0, 0.1, 0],
          [0, 0, 0.1],
        ]),
      ),
      B0: wide.B0,
    };
    const now = reanchoring(wide, next, PLAIN)(own);
    expect(relativeChange(blend(next.B0, now), next.A, blend(wide.B0, own), wide.A)).toBeLessThan(1e-5);
    const zero = { A: wide.A, B0: matrix(2, 3) };
    const nothing: Own = { B: matrix(2, 3), A: own.A, a: 0 };
    expect([...reanchoring(zero, zero, PLAIN)(nothing).B.data]).toEqual([0, 0, 0, 0, 0, 0]);
  });
});

describe('the regularize step', () => {
  const error = (a: Bank, b: Bank, task: string) =>
    layers.reduce((sum, { name }) => sum + frobenius(add(delta(a, task, name), delta(b, task, name), -1)) ** 2, 0);

  it('re-anchors earlier tasks nearer to what they were, keeps the new one, and reports the drift', () => {
    const { first, second } = learnTwo(options());
    const { bank, drift, refit } = lilora.consolidate!(first, second, 'b', 0);
    expect(error(bank, first, 'a')).toBeLessThan(error(second, first, 'a'));
    expect(error(bank, second, 'b')).toBe(0);
    expect(refit).toBe(false);
    const relative =
      frobenius(add(delta(bank, 'a', 'one'), delta(first, 'a', 'one'), -1)) / frobenius(delta(first, 'a', 'one'));
    expect(drift[0]).toMatchObject({ task: 'a' });
    expect(drift[0]!.worst).toBeGreaterThanOrEqual(relative - 1e-6);
  });

  it('loses nothing when only the direction of A changed within its span', () => {
    const { first, second } = learnTwo(options({ innerRank: 4 }));
    // An invertible mix of A's rows, B0 unchanged: with q = r an earlier task can be expressed exactly.
    const mix = m([
      [1, 0.2, 0, 0],
      [0, 1, 0.3, 0],
      [0.1, 0, 1, 0],
      [0, 0, 0.4, 1],
    ]);
    const tensors = new Map(second.tensors);
    for (const { name } of layers) {
      const A = multiply(mix, sharedOf(first, name).A);
      tensors.set(sharedKey(name, 'A'), { shape: [A.rows, A.cols], data: Float32Array.from(A.data) });
      tensors.set(sharedKey(name, 'B0'), first.tensors.get(sharedKey(name, 'B0'))!);
    }
    const { drift } = lilora.consolidate!(first, { ...second, tensors }, 'b', 0);
    expect(drift[0]!.worst).toBeLessThan(1e-4);
  });

  it('goes half-way back at one half, and all the way, exactly, at one', () => {
    const { first, second } = learnTwo(options());
    const half = lilora.consolidate!(first, second, 'b', 0.5);
    const middle = sharedOf(half.bank, 'one').A.data[0]!;
    expect(middle).toBeCloseTo((sharedOf(first, 'one').A.data[0]! + sharedOf(second, 'one').A.data[0]!) / 2, 6);
    expect(error(half.bank, first, 'a')).toBeLessThan(error(second, first, 'a'));
    expect(half.refit).toBe(true);
    const back = lilora.consolidate!(first, second, 'b', 1);
    for (const [key, tensor] of first.tensors) expect(back.bank.tensors.get(key)!.data).toEqual(tensor.data);
    expect(back.drift[0]!.worst).toBe(0);
  });

  it('changes nothing where nothing shared moved', () => {
    const { first, second } = learnTwo(options({ variant: 'safe', reanchor: true }));
    const { bank } = lilora.consolidate!(first, second, 'b', 0);
    for (const [key, tensor] of second.tensors) expect(bank.tensors.get(key)).toBe(tensor);
  });

  it('restores what was even when earlier tasks were re-anchored in between', () => {
    const { first, second } = learnTwo(options());
    const { bank } = lilora.consolidate!(first, second, 'b', 0);
    const back = lilora.consolidate!(first, bank, 'b', 1);
    for (const [key, tensor] of first.tensors) expect(back.bank.tensors.get(key)!.data).toEqual(tensor.data);
  });

  it('moves the new task as little as it can when the shared factors go back', () => {
    const { first, second } = learnTwo(options());
    const { bank } = lilora.consolidate!(first, second, 'b', 0.5);
    const plain = new Map(bank.tensors);
    for (const { name } of layers)
      for (const tensor of ['A_tilde', 'B_tilde'])
        plain.set(ownKey('b', name, tensor), second.tensors.get(ownKey('b', name, tensor))!);
    expect(error(bank, second, 'b')).toBeLessThan(error({ ...bank, tensors: plain }, second, 'b'));
  });

  it('leaves tasks alone in the variants of the paper, and still says how far they drifted', () => {
    for (const variant of ['paper', 'released']) {
      const { first, second } = learnTwo(options({ variant }));
      const { bank, drift, refit } = lilora.consolidate!(first, second, 'b', 0);
      expect(new Map(bank.tensors)).toEqual(second.tensors);
      expect(refit).toBe(false);
      const relative = layers.map(({ name }) => {
        const before = delta(first, 'a', name);
        return { name, value: frobenius(add(delta(second, 'a', name), before, -1)) / frobenius(before) };
      });
      const [one, two] = relative.map(({ value }) => value) as [number, number];
      expect(drift).toHaveLength(1);
      expect(drift[0]!.mean).toBeCloseTo((one + two) / 2, 6);
      expect(drift[0]!.worst).toBeCloseTo(Math.max(one, two), 6);
      expect(drift[0]!.worstLayer).toBe(one > two ? 'one' : 'two');
    }
  });

  it('has nothing to do after the first task', () => {
    const given = options();
    const start = lilora.start(layers, given, new Random(1));
    const first = learn(start, 'a', given, 2);
    expect(lilora.consolidate!(start, first, 'a', 0)).toEqual({ bank: first, drift: [], refit: false });
  });
});
