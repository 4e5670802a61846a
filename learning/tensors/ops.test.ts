import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../training/random.ts';
import { ACTIVATIONS } from './activations.ts';
import { startTensors } from './backend.ts';
import {
  attention,
  attentionBias,
  crossEntropy,
  gatherRows,
  layerNorm,
  linear,
  putEntry,
  putRows,
  rmsNorm,
  rotary,
  swiglu,
} from './ops.ts';

/*
 * Every operation against its formula in float64, and its gradient against central differences of that formula: of the
 * sum of all outputs, each with its own weight.
 */

interface Case {
  readonly inputs: number[][];
  readonly op: (...inputs: tf.Tensor[]) => tf.Tensor;
  /** Flat inputs → flat outputs. */
  readonly formula: (...inputs: number[][]) => number[];
}

const random = new Random(11);
const normal = (shape: number[]) => Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal());
const dot = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const rowsOf = (x: number[], width: number) =>
  Array.from({ length: x.length / width }, (_, i) => x.slice(i * width, (i + 1) * width));
const softmax = (row: number[]) => {
  const e = row.map((x) => Math.exp(x - Math.max(...row)));
  return e.map((x) => x / e.reduce((a, b) => a + b, 0));
};
const mean = (row: number[]) => row.reduce((a, b) => a + b, 0) / row.length;

function expectNear(actual: ArrayLike<number>, expected: number[], tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(1, ...expected.map(Math.abs));
  for (const [i, x] of expected.entries()) {
    if (!(Math.abs(actual[i]! - x) <= tolerance * scale)) expect.fail(`entry ${i} is ${actual[i]}, not ${x}`);
  }
}

function check({ inputs, op, formula }: Case, shapes: number[][]): void {
  const before = tf.memory().numTensors;
  // The formula sees what the engine sees: numbers rounded to float32.
  const rounded = inputs.map((x) => [...Float32Array.from(x)]);
  const expected = formula(...rounded);
  const weights = expected.map((_, i) => Math.cos(i + 1));
  const total = (...xs: number[][]) => dot(formula(...xs), weights);
  tf.tidy(() => {
    const tensors = rounded.map((x, i) => tf.tensor(x, shapes[i]!));
    const value = op(...tensors);
    expectNear(value.dataSync(), expected, 1e-5);
    const weighted = tf.tensor(weights, value.shape);
    const gradients = tf.grads((...xs) => tf.sum(tf.mul(op(...(xs as tf.Tensor[])), weighted)))(tensors);
    for (const [k, gradient] of gradients.entries()) {
      const slopes = rounded[k]!.map((_, i) => {
        const moved = (h: number) =>
          total(...rounded.map((x, j) => (j === k ? x.map((v, n) => (n === i ? v + h : v)) : x)));
        return (moved(1e-5) - moved(-1e-5)) / 2e-5;
      });
      expectNear(gradient.dataSync(), slopes, 2e-5);
    }
  });
  expect(tf.memory().numTensors).toBe(before);
}

// Abramowitz & Stegun 7.1.5, the series of the error function; good to 1e-12 for |x| < 4.
function erf(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < 120; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const FORMULAS: Record<string, (x: number) => number> = {
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_pytorch_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  gelu_new: (x) => FORMULAS['gelu_pytorch_tanh']!(x),
  quick_gelu: (x) => x * sigmoid(1.702 * x),
  silu: (x) => x * sigmoid(x),
  relu: (x) => Math.max(x, 0),
};

describe.each(['cpu', 'tensorflow'] as const)('on the %s engine', (name) => {
  beforeAll(async () => {
    expect((await startTensors(name)).name).toBe(name);
  });

  test.each(Object.keys(ACTIVATIONS))('%s', (activation) => {
    const f = FORMULAS[activation]!;
    check({ inputs: [normal([3, 7])], op: (x) => ACTIVATIONS[activation]!(x!), formula: (x) => x.map(f) }, [[3, 7]]);
  });

  test('linear', () => {
    const shapes = [[3, 4], [2, 4], [2]];
    const formula = (x: number[], w: number[], b: number[]) =>
      rowsOf(x, 4).flatMap((row) => rowsOf(w, 4).map((weights, o) => dot(row, weights) + b[o]!));
    check({ inputs: shapes.map(normal), op: (x, w, b) => linear(x as tf.Tensor2D, w!, b), formula }, shapes);
  });

  test('RMS norm', () => {
    const formula = (x: number[], w: number[]) =>
      rowsOf(x, 5).flatMap((row) => row.map((v, i) => (v / Math.sqrt(mean(row.map((u) => u * u)) + 0.01)) * w[i]!));
    check({ inputs: [normal([4, 5]), normal([5])], op: (x, w) => rmsNorm(x!, w!, 0.01), formula }, [[4, 5], [5]]);
  });

  test('layer norm', () => {
    const formula = (x: number[], w: number[], b: number[]) =>
      rowsOf(x, 5).flatMap((row) => {
        const variance = mean(row.map((v) => (v - mean(row)) ** 2));
        return row.map((v, i) => ((v - mean(row)) / Math.sqrt(variance + 0.02)) * w[i]! + b[i]!);
      });
    const shapes = [[2, 3, 5], [5], [5]];
    check({ inputs: shapes.map(normal), op: (x, w, b) => layerNorm(x!, w!, b!, 0.02), formula }, shapes);
  });

  test('SwiGLU', () => {
    const formula = (g: number[], u: number[]) => g.map((x, i) => x * sigmoid(x) * u[i]!);
    const shapes = [
      [3, 4],
      [3, 4],
    ];
    check({ inputs: shapes.map(normal), op: (g, u) => swiglu(g as tf.Tensor2D, u as tf.Tensor2D), formula }, shapes);
  });

  test('rotary embedding turns pair (i, i + half) of every token by its angle', () => {
    const angles = [0.3, 1.1, 0, 2, 0.7, 5];
    const table = (f: (a: number) => number, sign: number) =>
      tf.tensor(
        rowsOf(angles, 2).flatMap(([a, b]) => [sign * f(a!), sign * f(b!), f(a!), f(b!)]),
        [1, 1, 3, 4],
      );
    const cos = table(Math.cos, 1);
    const sin = table(Math.sin, -1);
    const formula = (x: number[]) =>
      rowsOf(x, 4).flatMap(([a, b, c, d], at) => {
        const [p, q] = [angles[(at % 3) * 2]!, angles[(at % 3) * 2 + 1]!];
        const first = [a! * Math.cos(p) - c! * Math.sin(p), b! * Math.cos(q) - d! * Math.sin(q)];
        return [...first, a! * Math.sin(p) + c! * Math.cos(p), b! * Math.sin(q) + d! * Math.cos(q)];
      });
    check({ inputs: [normal([2, 2, 3, 4])], op: (x) => rotary(x as tf.Tensor4D, cos, sin), formula }, [[2, 2, 3, 4]]);
    tf.dispose([cos, sin]);
  });

  test('attention: grouped heads, causal, padding on the left of row 1', () => {
    const keep = [1, 1, 1, 0, 1, 1];
    const shapes = [
      [2, 4, 3, 2],
      [2, 2, 3, 2],
      [2, 2, 3, 2],
    ];
    const bias = tf.tidy(() => attentionBias(tf.tensor4d(keep, [2, 1, 1, 3]), null));
    const formula = (q: number[], k: number[], v: number[]) => {
      const vectors = (x: number[]) => rowsOf(x, 2);
      const out: number[] = [];
      for (let row = 0; row < 2; row++) {
        for (let head = 0; head < 4; head++) {
          for (let t = 0; t < 3; t++) {
            const query = vectors(q)[(row * 4 + head) * 3 + t]!;
            const at = [0, 1, 2].filter((s) => s <= t && keep[row * 3 + s]);
            // A query that sees nothing weighs the keys by the scores that all are −1e9 away: here, only padding.
            if (at.length === 0) at.push(0, 1, 2);
            const place = (s: number) => (row * 2 + Math.floor(head / 2)) * 3 + s;
            const p = softmax(at.map((s) => dot(query, vectors(k)[place(s)]!) / Math.SQRT2));
            for (let i = 0; i < 2; i++)
              out.push(
                dot(
                  p,
                  at.map((s) => vectors(v)[place(s)]![i]!),
                ),
              );
          }
        }
      }
      // Row 1, token 0 is padding: whatever it computes is never used.
      return out.map((x, i) => (i >= 24 && Math.floor(i / 2) % 3 === 0 ? 0 : x));
    };
    const used = tf.tensor4d(
      Array.from({ length: 48 }, (_, i) => (i >= 24 && Math.floor(i / 2) % 3 === 0 ? 0 : 1)),
      [2, 4, 3, 2],
    );
    const op = (q?: tf.Tensor, k?: tf.Tensor, v?: tf.Tensor) =>
      tf.mul(attention(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, bias), used);
    check({ inputs: shapes.map(normal), op, formula }, shapes);
    tf.dispose([bias, used]);
  });

  test('rows taken and rows put', () => {
    const at = tf.tensor1d([3, 1], 'int32');
    const keep = tf.tensor2d([1, 0, 1, 0], [4, 1]);
    const taken = (x: number[]) => [...x.slice(6, 8), ...x.slice(2, 4)];
    check({ inputs: [normal([4, 2])], op: (x) => gatherRows(x as tf.Tensor2D, at), formula: taken }, [[4, 2]]);
    const shapes = [
      [4, 2],
      [2, 2],
    ];
    const put = (x: number[], r: number[]) => [...x.slice(0, 2), ...r.slice(2), ...x.slice(4, 6), ...r.slice(0, 2)];
    const op = (x?: tf.Tensor, r?: tf.Tensor) => putRows(x as tf.Tensor2D, r as tf.Tensor2D, at, keep);
    check({ inputs: shapes.map(normal), op, formula: put }, shapes);
    tf.dispose([at, keep]);
  });

  test('cross-entropy', () => {
    const labels = [4, 0, 2];
    const at = tf.tensor1d(labels, 'int32');
    const formula = (z: number[]) => rowsOf(z, 5).map((row, i) => -Math.log(softmax(row)[labels[i]!]!));
    check({ inputs: [normal([3, 5])], op: (z) => crossEntropy(z as tf.Tensor2D, at), formula }, [[3, 5]]);
    at.dispose();
  });

  test('an entry of a table is replaced, and nothing else', () => {
    tf.tidy(() => {
      const [table, entry] = [normal([2, 3, 4, 5]), normal([2, 3, 1, 5])];
      const put = putEntry(tf.tensor4d(table, [2, 3, 4, 5]), tf.tensor4d(entry, [2, 3, 1, 5]), tf.scalar(2, 'int32'));
      const expected = table.map((x, i) =>
        Math.floor(i / 5) % 4 === 2 ? entry[Math.floor(i / 20) * 5 + (i % 5)]! : x,
      );
      expect([...put.dataSync()]).toEqual([...Float32Array.from(expected)]);
    });
  });

  test('cross-entropy of very certain logits stays finite', () => {
    const value = tf.tidy(() => {
      const z = tf.tensor2d([1e4, 0, -1e4, 0, 1e4, -1e4], [2, 3]);
      return crossEntropy(z, tf.tensor1d([0, 2], 'int32')).dataSync();
    });
    expect([...value].map(Math.abs)).toEqual([0, 20000]);
  });
});

test('an engine that is asked for by name says what it is', async () => {
  const native = await startTensors('tensorflow');
  expect(native).toMatchObject({ name: 'tensorflow', version: expect.stringMatching(/^tfjs 4\..*TensorFlow 2\./) });
  expect(tf.getBackend()).toBe('tensorflow');
  expect(await startTensors()).toEqual(native);
  expect(await startTensors('cpu')).toMatchObject({ name: 'cpu', device: 'cpu', why: 'asked for' });
  expect(tf.getBackend()).toBe('cpu');
});
