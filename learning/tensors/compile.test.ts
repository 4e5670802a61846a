import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startTensors } from './backend.ts';
import { Compiled } from './compile.ts';
import { type Tree, tensorsOf } from './tree.ts';

const dispose = (tree: Tree) => tf.dispose(tensorsOf(tree));
const numbers = (tensor: tf.Tensor) => [...tensor.dataSync()];

beforeAll(async () => {
  await startTensors('tensorflow');
});

let before = 0;
afterEach(() => {
  expect(tf.memory().numTensors - before, 'tensors left over').toBe(0);
});

/** A function with most of the operations of a model, its gradient among them. */
function gradient(weight: tf.Tensor2D) {
  return ({ x, bias, power }: { x: tf.Tensor2D; bias: tf.Tensor1D; power: number }) => {
    const value = (x: tf.Tensor) => {
      const [a, b] = tf.split(tf.tanh(tf.add(tf.matMul(x as tf.Tensor2D, weight, false, true), bias)), 2, 1);
      const mixed = tf.softmax(tf.transpose(tf.mul(tf.reshape(a!, [2, -1]), tf.pow(tf.reshape(b!, [2, -1]), power))));
      return tf.sum(tf.expandDims(tf.logSumExp(mixed, 1), 1));
    };
    return { slope: tf.grad(value)(x), list: [tf.cast(tf.greater(x, 0), 'int32'), null, 'text', power] as const };
  };
}

test('the same tensor given twice at first is two tensors later', () => {
  before = tf.memory().numTensors;
  const compiled = new Compiled(({ a, b }: { a: tf.Tensor; b: tf.Tensor }) => tf.sub(a, b));
  const [a, b] = [tf.tensor1d([3, 5]), tf.tensor1d([1, 2])];
  const results = [compiled.run({ a, b: a }), compiled.run({ a, b }), compiled.run({ a: b, b })];
  expect(results.map(numbers)).toEqual([
    [0, 0],
    [2, 3],
    [0, 0],
  ]);
  compiled.dispose();
  dispose([a, b, ...results]);
});

test('gives what the function gives, in the same arrangement, for every shape', () => {
  before = tf.memory().numTensors;
  const weight = tf.randomNormal([6, 5], 0, 1, 'float32', 1) as tf.Tensor2D;
  const compute = gradient(weight);
  const compiled = new Compiled(compute);
  for (const rows of [4, 2, 4]) {
    const inputs = {
      x: tf.randomNormal([rows, 5], 0, 1, 'float32', rows) as tf.Tensor2D,
      bias: tf.randomNormal([6], 0, 1, 'float32', 3) as tf.Tensor1D,
      power: 2,
    };
    const [ours, wanted] = [compiled.run(inputs), tf.tidy(() => compute(inputs) as unknown as tf.TensorContainer)];
    const eager = wanted as unknown as ReturnType<typeof compute>;
    for (const [i, value] of numbers(ours.slope).entries()) expect(value).toBeCloseTo(numbers(eager.slope)[i]!, 5);
    expect(numbers(ours.list[0])).toEqual(numbers(eager.list[0]));
    expect([ours.slope.shape, ours.list[0].dtype, ...ours.list.slice(1)]).toEqual([
      [rows, 5],
      'int32',
      null,
      'text',
      2,
    ]);
    dispose([ours, eager, inputs] as Tree);
  }
  expect([compiled.whyEager, compiled.size]).toEqual([null, 2]);
  compiled.dispose();
  expect(compiled.size).toBe(0);
  weight.dispose();
});

test('the first call gives the same bits as every later one', () => {
  before = tf.memory().numTensors;
  const weight = tf.randomNormal([6, 5], 0, 1, 'float32', 1) as tf.Tensor2D;
  const inputs = { x: tf.randomNormal([4, 5]) as tf.Tensor2D, bias: tf.zeros([6]) as tf.Tensor1D, power: 3 };
  const bits = () => {
    const compiled = new Compiled(gradient(weight));
    return [0, 1, 2].map(() => {
      const result = compiled.run(inputs);
      const values = numbers(result.slope);
      dispose(result as Tree);
      return values;
    });
  };
  const [first, ...others] = [...bits(), ...bits()];
  for (const other of others) expect(other).toEqual(first);
  dispose({ weight, inputs });
});

test('numbers between the tensors are part of what is compiled', () => {
  before = tf.memory().numTensors;
  const compiled = new Compiled(({ x, by }: { x: tf.Tensor1D; by: number }) => tf.mul(x, by));
  const x = tf.tensor1d([1, 2]);
  const results = [2, 3, 2].map((by) => compiled.run({ x, by }));
  expect(results.map(numbers)).toEqual([
    [2, 4],
    [3, 6],
    [2, 4],
  ]);
  expect(compiled.size).toBe(2);
  dispose([x, ...results]);
});

test('an input that comes back, a constant, and a tensor that was never used before', () => {
  before = tf.memory().numTensors;
  const fresh = tf.tensor1d([5, 6]);
  const compiled = new Compiled((x: tf.Tensor1D) => [x, tf.tensor1d([7]), fresh, tf.add(x, fresh)]);
  const x = tf.tensor1d([1, 2]);
  for (let i = 0; i < 2; i++) {
    const result = compiled.run(x);
    expect(result.map((one) => numbers(one as tf.Tensor))).toEqual([[1, 2], [7], [5, 6], [6, 8]]);
    dispose(result);
  }
  expect(numbers(x)).toEqual([1, 2]);
  dispose([x, fresh]);
});

describe('runs as it is, and says why,', () => {
  test('when it reads values', () => {
    before = tf.memory().numTensors;
    const compiled = new Compiled((x: tf.Tensor1D) => (tf.sum(x).dataSync()[0]! > 2 ? tf.neg(x) : tf.add(x, 1)));
    for (const [value, wanted] of [
      [1, 2],
      [3, -3],
    ]) {
      const x = tf.tensor1d([value!]);
      const y = compiled.run(x);
      expect(numbers(y)).toEqual([wanted]);
      dispose([x, y]);
    }
    expect(compiled.whyEager).toMatch(/reads values/);
  });

  test('when it uses a variable, which would be stale', () => {
    before = tf.memory().numTensors;
    const variable = tf.tidy(() => tf.variable(tf.tensor1d([1]), true, 'moving'));
    const compiled = new Compiled((x: tf.Tensor1D) => tf.add(x, variable));
    const x = tf.tensor1d([1]);
    const first = compiled.run(x);
    tf.tidy(() => variable.assign(tf.tensor1d([10])));
    const second = compiled.run(x);
    expect([numbers(first), numbers(second)]).toEqual([[2], [11]]);
    expect(compiled.whyEager).toMatch(/variable moving/);
    dispose([x, first, second, variable]);
  });

  test('on another back end', async () => {
    await startTensors('cpu');
    before = tf.memory().numTensors;
    const compiled = new Compiled((x: tf.Tensor1D) => tf.add(x, 1));
    const x = tf.tensor1d([1]);
    const y = compiled.run(x);
    expect([numbers(y), compiled.whyEager]).toEqual([[2], 'the back end is cpu']);
    dispose([x, y]);
    await startTensors('tensorflow');
  });
});

test('an error of the function is its own, and nothing of the call is left', () => {
  before = tf.memory().numTensors;
  const compiled = new Compiled((x: tf.Tensor1D) => tf.matMul(tf.expandDims(x, 0), tf.zeros([3, 3])));
  const wrong = tf.tensor1d([1]);
  expect(() => compiled.run(wrong)).toThrow(/incompatible/);
  const right = tf.ones([3]) as tf.Tensor1D;
  const y = compiled.run(right);
  expect([numbers(y), compiled.whyEager]).toEqual([[0, 0, 0], null]);
  dispose([wrong, right, y]);
});
