import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { TensorMap } from '../../../core/host-tensor.ts';
import type { AdaptedLayer } from '../../model/model.ts';
import { startTensors } from '../../tensors/backend.ts';
import { add, frobenius, type Matrix, matrix, multiply } from '../../tensors/linalg.ts';
import { Random } from '../../training/random.ts';
import { bindAdapter, bindTrainable } from '../adapter.ts';
import { ownKey, sharedKey } from '../bank.ts';
import type { Bank } from '../method.ts';
import { perTaskLora } from '../per-task-lora/index.ts';
import { blend, type Own, ownOf, reanchoring, relativeChange, sharedOf } from './factors.ts';
import { lilora } from './index.ts';
import { type LiloraOptions, liloraOptions } from './options.ts';
import { anchorSums, similarity } from './penalty.ts';

beforeAll(async () => {
  await startTensors('cpu');
});

const options = (given: object = {}): LiloraOptions => liloraOptions.parse({ rank: 4, alpha: 8, ...given });
const layers: AdaptedLayer[] = [
  { name: 'one', in: 6, out: 5 },
  { name: 'two', in: 5, out: 7 },
];
const m = (rows: number[][]) => matrix(rows.length, rows[0]!.length, rows.flat());
const t = (rows: number[][]) => tf.tensor2d(rows);
const rounded = (x: Matrix) => [...x.data].map((value) => Number(value.toFixed(6)));

/** Gives every tensor that a task trains other values, as if it had learned. */
function learn(bank: Bank, task: string, given: LiloraOptions, seed: number, size = 0.3): Bank {
  const random = new Random(seed);
  const trainable = lilora.begin(bank, task, given, random.split('begin'));
  const trained: TensorMap = new Map();
  for (const [key, { start, trained: learns }] of trainable.tensors)
    if (learns) trained.set(key, { shape: start.shape, data: start.data.map((x) => x + size * random.normal()) });
  return lilora.finish(bank, trainable, trained);
}

function learnTwo(given: LiloraOptions): { first: Bank; second: Bank } {
  const first = learn(lilora.start(layers, given, new Random(1)), 'a', given, 2);
  return { first, second: learn(first, 'b', given, 3) };
}

/** s·B_t·A of a task by plain matrices. */
const delta = (bank: Bank, task: string, layer: string) => {
  const { A, B0 } = sharedOf(bank, layer);
  return multiply(blend(B0, ownOf(bank, task, layer)), A);
};

describe('the golden vector of the definition', () => {
  const own: Own = { B: m([[1], [2]]), A: m([[0.5, -0.5]]), a: 0 };
  const B0 = m([
    [0.2, 0],
    [0, -0.4],
  ]);

  it('blends and applies', () => {
    const B = blend(B0, own);
    expect(rounded(B)).toEqual([0.35, -0.25, 0.5, -0.7]);
    const bank: Bank = {
      method: 'lilora',
      options: options({ rank: 2, alpha: 4, innerRank: 1 }),
      layers: [{ name: 'layer', in: 2, out: 2 }],
      tasks: ['a'],
      tensors: new Map(
        Object.entries({
          [sharedKey('layer', 'A')]: [1, 0, 0.5, -1],
          [sharedKey('layer', 'B0')]: [0.2, 0, 0, -0.4],
          [ownKey('a', 'layer', 'B_tilde')]: [1, 2],
          [ownKey('a', 'layer', 'A_tilde')]: [0.5, -0.5],
          [ownKey('a', 'layer', 'a')]: [0],
        }).map(([key, data]) => {
          const shape = key.endsWith('/a')
            ? [1]
            : key.endsWith('B_tilde')
              ? [2, 1]
              : key.endsWith('A_tilde')
                ? [1, 2]
                : [2, 2];
          return [key, { shape, data: Float32Array.from(data) }];
        }),
      ),
    };
    const { adapt, dispose } = bindAdapter(bank, 'a');
    const y = adapt('layer', t([[1, 2]]), tf.zeros([1, 2]));
    expect([...y.dataSync()].map((v) => Number(v.toFixed(5)))).toEqual([1.45, 3.1]);
    dispose();
  });

  it('has the stability loss of the page', () => {
    const sim = similarity(t([[1], [2]]), t([[0.5, -0.5]]), t([[1], [1]]), t([[0.5, 0.1]])).dataSync()[0]!;
    expect(sim).toBeCloseTo(0.526235, 5);
    expect((1 - sim) * 0.01).toBeCloseTo(4.737652e-3, 7);
  });
});

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

  it('re-anchors both tasks', () => {
    const [a, b] = [one, two].map(reanchoring(old, next)) as [Own, Own];
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

describe('what pins the definition', () => {
  const forward = (bank: Bank, task: string, given: LiloraOptions) => {
    const trainable = lilora.begin(bank, task, given, new Random(9));
    const bound = bindTrainable(lilora as never, given, layers, trainable);
    const x = tf.randomNormal([3, 6], 0, 1, 'float32', 4) as tf.Tensor2D;
    const y = bound.adapt('one', x, tf.zeros([3, 5]));
    return { x, y, bound, trainable };
  };

  it('(a) starts the first task at the base model', () => {
    const given = options();
    const { y } = forward(lilora.start(layers, given, new Random(1)), 'a', given);
    expect(Math.max(...y.abs().dataSync())).toBe(0);
  });

  it('(b) starts a later task at the scaled shared part', () => {
    const given = options();
    const { first } = learnTwo(given);
    const { x, y, bound } = forward(first, 'b', given);
    const { A, B0 } = sharedOf(first, 'one');
    const alpha = 1 / (1 + Math.exp(-bound.active.get('one', 'a').dataSync()[0]!));
    const input = matrix(3, 6, x.dataSync());
    const wanted = multiply(multiply(input, A, false, true), B0, false, true);
    for (const [i, value] of wanted.data.entries()) expect(y.dataSync()[i]).toBeCloseTo(2 * alpha * value, 4);
  });

  it('(d) computes the cosine of the products from q × q matrices', () => {
    const random = new Random(5);
    const make = (rows: number, cols: number) =>
      matrix(
        rows,
        cols,
        Float64Array.from({ length: rows * cols }, () => random.normal()),
      );
    const [B1, A1, B2, A2] = [make(7, 2), make(2, 4), make(7, 2), make(2, 4)];
    const [P, Q] = [multiply(B1, A1), multiply(B2, A2)];
    const dot = P.data.reduce((sum, value, i) => sum + value * Q.data[i]!, 0);
    const toTensor = (x: Matrix) => tf.tensor2d(Float32Array.from(x.data), [x.rows, x.cols]);
    const [b1, a1, b2, a2] = [B1, A1, B2, A2].map(toTensor) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
    expect(similarity(b1, a1, b2, a2).dataSync()[0]).toBeCloseTo(dot / (frobenius(P) * frobenius(Q)), 5);
    expect(similarity(b1, a1, tf.zerosLike(b2), a2).dataSync()[0]).toBe(0);
  });

  it('(e) has no penalty at the first step, and (f) sends gradients to B0 and A as the variant says', () => {
    const gradients = (variant: string) => {
      const given = options({ variant });
      const { first } = learnTwo(given);
      const { bound, trainable, x } = forward(first, 'b', given);
      const start = lilora.penalty!(bound.active, given, trainable).dataSync()[0];
      const { grads } = tf.variableGrads(
        () =>
          tf.add(
            tf.sum(bound.adapt('one', x, tf.zeros([3, 5]))),
            lilora.penalty!(bound.active, given, trainable),
          ) as tf.Scalar,
        [...bound.variables].filter(([key]) => key.startsWith('one/')).map(([, variable]) => variable),
      );
      const reached = [...bound.variables].filter(
        ([, v]) => grads[v.name] && Math.max(...grads[v.name]!.abs().dataSync()) > 0,
      );
      return { start, reached: reached.map(([key]) => key) };
    };
    for (const variant of ['paper', 'anchored', 'released', 'safe']) expect(gradients(variant).start).toBe(0);
    expect(gradients('paper').reached).toEqual(expect.arrayContaining(['one/A', 'one/B0']));
    expect(gradients('anchored').reached).toEqual(expect.arrayContaining(['one/A', 'one/B0']));
    expect(gradients('released').reached).toContain('one/A');
    expect(gradients('released').reached).not.toContain('one/B0');
    expect(gradients('safe').reached).toEqual(['one/B_tilde', 'one/a']);
  });

  it('(g) leaves earlier tasks alone while training, and in safe mode everything shared too', () => {
    for (const variant of ['paper', 'anchored', 'released', 'safe']) {
      const { first, second } = learnTwo(options({ variant }));
      for (const [key, tensor] of first.tensors)
        if (key.startsWith('tasks/a/') || variant === 'safe') expect(second.tensors.get(key)).toEqual(tensor);
      const moved = (tensor: string) =>
        second.tensors.get(sharedKey('one', tensor)) !== first.tensors.get(sharedKey('one', tensor));
      expect([moved('A'), moved('B0')]).toEqual([variant !== 'safe', variant === 'paper' || variant === 'anchored']);
    }
  });

  it('folds to an ordinary LoRA that computes the same', () => {
    const { second } = learnTwo(options());
    const { layers: folded, rank, alpha } = lilora.fold!(second, 'b');
    const { A, B } = folded.get('two')!;
    const x = tf.randomNormal([4, 5], 0, 1, 'float32', 1) as tf.Tensor2D;
    const { adapt } = bindAdapter(second, 'b');
    const ours = adapt('two', x, tf.zeros([4, 7])).dataSync();
    const [a, b] = [A, B].map(({ data, shape }) => tf.tensor2d(data, shape as [number, number]));
    const lora = tf.mul(tf.matMul(tf.matMul(x, a!, false, true), b!, false, true), alpha / rank).dataSync();
    for (const [i, value] of ours.entries()) expect(value).toBeCloseTo(lora[i]!, 5);
  });
});

describe('the anchor penalty', () => {
  it('equals the sum over earlier tasks that it stands for, whatever their number', () => {
    const given = options({ anchorWeight: 1, stabilityWeight: 0, layerReduction: 'sum' });
    const { second } = learnTwo(given);
    const trainable = lilora.begin(second, 'c', given, new Random(3));
    const bound = bindTrainable(lilora as never, given, layers, trainable);
    const random = new Random(8);
    for (const [key, variable] of bound.variables)
      if (/\/(A|B0)$/.test(key))
        variable.assign(
          tf.add(
            variable,
            tf.tensor(
              Float32Array.from({ length: variable.size }, () => 0.1 * random.normal()),
              variable.shape,
            ),
          ),
        );
    const after = lilora.finish(second, trainable, bound.trained());
    let naive = 0;
    for (const { name } of layers)
      for (const task of ['a', 'b'])
        naive += frobenius(add(delta(after, task, name), delta(second, task, name), -1)) ** 2;
    expect(lilora.penalty!(bound.active, given, trainable).dataSync()[0]).toBeCloseTo(naive, 4);
    bound.dispose();
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
});

describe('sizes', () => {
  /** LLaVA-1.5-7B: 32 decoder layers' MLP and the projector, 98 modules. */
  const paper: AdaptedLayer[] = [
    ...Array.from({ length: 32 }, (_, i) => [
      { name: `${i}.gate_proj`, in: 4096, out: 11008 },
      { name: `${i}.up_proj`, in: 4096, out: 11008 },
      { name: `${i}.down_proj`, in: 11008, out: 4096 },
    ]).flat(),
    { name: 'linear_1', in: 1024, out: 4096 },
    { name: 'linear_2', in: 4096, out: 4096 },
  ];
  const mib = (count: number) => (count * 2) / 2 ** 20;
  const count = (innerRank: number) => lilora.describe(paper, options({ rank: 128, alpha: 256, innerRank })).parameters;

  it('are the paper’s, by formula', () => {
    expect(paper).toHaveLength(98);
    const lora = perTaskLora.describe(paper, { rank: 128, alpha: 256 }).parameters.perTask;
    expect(lora).toBe(187_301_888);
    expect(mib(lora)).toBeCloseTo(357.25, 2);
    expect(count(64).perTask).toBe(54_804_480 + 98);
    expect(mib(count(64).perTask)).toBeCloseTo(104.53, 2);
    expect(mib(count(64).shared + 6 * count(64).perTask)).toBeCloseTo(984.4, 1);
    expect(mib(count(32).perTask)).toBeCloseTo(52.3, 1);
    expect(mib(count(16).perTask)).toBeCloseTo(26.1, 1);
  });

  it('are those of the tensors', () => {
    const given = options();
    const { second } = learnTwo(given);
    const size = (prefix: string) =>
      [...second.tensors].filter(([key]) => key.startsWith(prefix)).reduce((sum, [, x]) => sum + x.data.length, 0);
    const { shared, perTask } = lilora.describe(layers, given).parameters;
    expect([size('shared/'), size('tasks/a/'), size('tasks/b/')]).toEqual([shared, perTask, perTask]);
  });
});
