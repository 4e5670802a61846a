import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { canonicalJson } from '../../../core/json.ts';
import { layers, learnTwo, options } from '../../../test/lilora-banks.ts';
import { LLAVA_LAYERS } from '../../../test/method-numbers.ts';

import { startTensors } from '../../tensors/backend.ts';
import { frobenius, type Matrix, matrix, multiply } from '../../tensors/linalg.ts';
import { Random } from '../../training/random.ts';
import { bindAdapter, bindTrainable } from '../adapter.ts';
import { ownKey, sharedKey } from '../bank.ts';
import type { Bank } from '../method.ts';
import { perTaskLora } from '../per-task-lora/index.ts';
import { blend, type Own, sharedOf } from './factors.ts';
import { lilora } from './index.ts';
import type { LiloraOptions } from './options.ts';
import { similarity } from './penalty.ts';

beforeAll(async () => {
  await startTensors('cpu');
});

const m = (rows: number[][]) => matrix(rows.length, rows[0]!.length, rows.flat());
const t = (rows: number[][]) => tf.tensor2d(rows);
const rounded = (x: Matrix) => [...x.data].map((value) => Number(value.toFixed(6)));

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

  it('has a similarity whose gradient is the slope, and zero where a product has no direction', () => {
    const [B1, A1, B2, A2] = [t([[1], [2]]), t([[0.5, -0.5]]), t([[1], [1]]), t([[0.5, 0.1]])];
    const [dB, dA] = tf.grads((B, A) => similarity(B as tf.Tensor2D, A as tf.Tensor2D, B2, A2))([B1, A1]);
    const slope = (at: 'B' | 'A', index: number) => {
      const moved = (by: number) => {
        const shift = tf.mul(tf.oneHot(tf.tensor1d([index], 'int32'), 2), by);
        const B = at === 'B' ? tf.add(B1, tf.reshape(shift, [2, 1])) : B1;
        const A = at === 'A' ? tf.add(A1, tf.reshape(shift, [1, 2])) : A1;
        return similarity(B as tf.Tensor2D, A as tf.Tensor2D, B2, A2).dataSync()[0]!;
      };
      return (moved(0.01) - moved(-0.01)) / 0.02;
    };
    for (const i of [0, 1]) {
      expect(dB!.dataSync()[i]).toBeCloseTo(slope('B', i), 3);
      expect(dA!.dataSync()[i]).toBeCloseTo(slope('A', i), 3);
    }
    for (const previous of [B2, tf.zerosLike(B2)]) {
      const [zeroB, zeroA] = tf.grads((B, A) => similarity(B as tf.Tensor2D, A as tf.Tensor2D, previous, A2))([
        tf.zerosLike(B1),
        A1,
      ]);
      expect([...zeroB!.dataSync(), ...zeroA!.dataSync()]).toEqual([0, 0, 0, 0]);
    }
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

describe('sizes', () => {
  const mib = (count: number) => (count * 2) / 2 ** 20;
  const count = (innerRank: number) =>
    lilora.describe(LLAVA_LAYERS, options({ rank: 128, alpha: 256, innerRank })).parameters;

  it('are the paper’s, by formula', () => {
    expect(LLAVA_LAYERS).toHaveLength(98);
    const lora = perTaskLora.describe(LLAVA_LAYERS, { rank: 128, alpha: 256 }).parameters.perTask;
    expect(lora).toBe(187_301_888);
    expect(mib(lora)).toBeCloseTo(357.25, 2);
    expect(count(64).perTask).toBe(54_804_480 + 98);
    expect(mib(count(64).perTask)).toBeCloseTo(104.53, 2);
    expect(mib(count(64).shared + 6 * count(64).perTask)).toBeCloseTo(984.4, 1);
    expect(mib(count(32).perTask)).toBeCloseTo(52.3, 1);
    expect(mib(count(16).perTask)).toBeCloseTo(26.1, 1);
  });

  it('stay below a share of a LoRA, in every layer', () => {
    const given = options({ rank: 128, alpha: 256, innerShare: 0.1 });
    for (const layer of LLAVA_LAYERS) {
      const own = lilora.describe([layer], given).parameters.perTask - 1;
      const lora = 128 * (layer.in + layer.out);
      expect(own).toBeLessThanOrEqual(0.1 * lora);
      expect(own, 'one rank more would be above').toBeGreaterThan(0.1 * lora - (128 + layer.out));
    }
    expect(() => options({ innerShare: 0.1, innerRank: 2 })).toThrow(/both say how large/);
    expect(options(given), 'complete options stay as they are').toEqual(given);
    expect(() => canonicalJson(given)).not.toThrow();
  });

  it.each([{}, { innerShare: 0.6 }])('are those of the tensors, with %o', (more) => {
    const given = options(more);
    const { second } = learnTwo(given);
    const size = (prefix: string) =>
      [...second.tensors].filter(([key]) => key.startsWith(prefix)).reduce((sum, [, x]) => sum + x.data.length, 0);
    const { shared, perTask } = lilora.describe(layers, given).parameters;
    expect([size('shared/'), size('tasks/a/'), size('tasks/b/')]).toEqual([shared, perTask, perTask]);
  });
});
