import { describe, expect, test } from 'vitest';
import { Random } from '../training/random.ts';
import { largestParts, lowRank, qr, svd } from './decompose.ts';
import {
  add,
  cholesky,
  firstColumns,
  frobenius,
  fromHost,
  gram,
  identity,
  inner,
  type Matrix,
  matrix,
  multiply,
  ridge,
  scale,
  solve,
  toHost,
  transpose,
} from './linalg.ts';

const random = new Random(7);
const normal = (rows: number, cols: number) =>
  matrix(
    rows,
    cols,
    Float64Array.from({ length: rows * cols }, () => random.normal()),
  );
const distance = (a: Matrix, b: Matrix) => frobenius(add(a, b, -1));
const diagonal = (s: ArrayLike<number>) =>
  matrix(
    s.length,
    s.length,
    Array.from({ length: s.length ** 2 }, (_, i) => (i % (s.length + 1) ? 0 : s[i / (s.length + 1)]!)),
  );

describe('products', () => {
  const a = matrix(2, 3, [1, 2, 3, 4, 5, 6]);
  const b = matrix(3, 2, [7, 8, 9, 10, 11, 12]);

  test('against numbers worked by hand, with every choice of transposes', () => {
    const expected = [58, 64, 139, 154];
    expect([...multiply(a, b).data]).toEqual(expected);
    expect([...multiply(transpose(a), b, true).data]).toEqual(expected);
    expect([...multiply(a, transpose(b), false, true).data]).toEqual(expected);
    expect([...multiply(transpose(a), transpose(b), true, true).data]).toEqual(expected);
    expect([...gram(a).data]).toEqual([17, 22, 27, 22, 29, 36, 27, 36, 45]);
  });

  test('sum, scale, inner product, norm, columns', () => {
    expect([...add(a, a, -0.5).data]).toEqual([0.5, 1, 1.5, 2, 2.5, 3]);
    expect([...scale(a, 2).data]).toEqual([2, 4, 6, 8, 10, 12]);
    expect(inner(a, a)).toBe(91);
    expect(frobenius(a)).toBe(Math.sqrt(91));
    expect([...firstColumns(a, 2).data]).toEqual([1, 2, 4, 5]);
  });

  test('to and from host tensors', () => {
    expect(toHost(a)).toEqual({ shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) });
    expect(fromHost(toHost(a))).toEqual(a);
  });

  test('shapes that do not fit are refused', () => {
    expect(() => multiply(a, a)).toThrow(/2 × 3 times 2 × 3/);
    expect(() => add(a, b)).toThrow(/different shapes/);
    expect(() => matrix(2, 2, [1])).toThrow(/do not fill/);
    expect(() => fromHost({ shape: [2], data: Float32Array.of(1, 2) })).toThrow(/no matrix/);
    expect(() => solve(a, b)).toThrow(/not square/);
  });
});

test('Cholesky of the textbook matrix, and solving with it', () => {
  const m = matrix(3, 3, [4, 12, -16, 12, 37, -43, -16, -43, 98]);
  expect([...cholesky(m).data]).toEqual([2, 0, 0, 6, 1, 0, -8, 5, 3]);
  const x = normal(3, 2);
  expect(distance(solve(m, multiply(m, x)), x)).toBeLessThan(1e-11);
  expect(() => cholesky(matrix(2, 2, [1, 2, 2, 1]))).toThrow(/not positive definite \(pivot 1 is -3\)/);
  expect([...ridge(matrix(2, 2, [1, 2, 2, 1]), 3).data]).toEqual([4, 2, 2, 4]);
});

test('QR: orthonormal columns, a triangle with a positive diagonal, and the product', () => {
  for (const m of [normal(9, 4), normal(5, 5), matrix(3, 2, [0, 0, 0, 0, 0, 0])]) {
    const { Q, R } = qr(m);
    expect(distance(multiply(Q, R), m)).toBeLessThan(1e-13);
    if (frobenius(m) > 0) expect(distance(gram(Q), identity(m.cols))).toBeLessThan(1e-13);
    for (let i = 0; i < R.rows; i++) {
      expect(R.data[i * R.cols + i]).toBeGreaterThanOrEqual(0);
      for (let j = 0; j < i; j++) expect(R.data[i * R.cols + j]).toBe(0);
    }
  }
});

describe('singular values', () => {
  test('of a matrix whose values are known: [[3, 0], [4, 5]] has √45 and √5', () => {
    const { S } = svd(matrix(2, 2, [3, 0, 4, 5]));
    expect(S[0]).toBeCloseTo(Math.sqrt(45), 13);
    expect(S[1]).toBeCloseTo(Math.sqrt(5), 13);
  });

  test.each([
    [12, 5],
    [5, 12],
    [40, 40],
    [1, 6],
  ])('%i × %i: orthonormal factors, descending values, the product, signs', (rows, cols) => {
    const m = normal(rows, cols);
    const { U, S, V } = svd(m);
    const k = Math.min(rows, cols);
    expect(distance(multiply(multiply(U, diagonal(S)), V, false, true), m)).toBeLessThan(1e-12 * frobenius(m));
    expect(distance(gram(U), identity(k))).toBeLessThan(1e-12);
    expect(distance(gram(V), identity(k))).toBeLessThan(1e-12);
    expect([...S]).toEqual([...S].sort((a, b) => b - a));
    for (let j = 0; j < k; j++) {
      const column = Array.from({ length: V.rows }, (_, i) => V.data[i * k + j]!);
      expect(Math.max(...column)).toBeGreaterThanOrEqual(-Math.min(...column) * (1 - 1e-8));
    }
  });

  test('values made to order come back, twelve orders of magnitude apart', () => {
    const wanted = [1e4, 3, 0.5, 1e-8];
    const m = multiply(multiply(qr(normal(9, 4)).Q, diagonal(wanted)), qr(normal(6, 4)).Q, false, true);
    const { S } = svd(m);
    for (const [i, s] of wanted.entries()) expect(Math.abs(S[i]! - s)).toBeLessThan(1e-11 * Math.max(s, 1) + 1e-11);
    for (const s of S.slice(4)) expect(s).toBeLessThan(1e-10);
  });

  test('the best approximation of rank k misses by exactly the values left out', () => {
    const m = normal(8, 6);
    const { S } = svd(m);
    const { left, right } = lowRank(m, 2);
    expect([left.cols, right.rows]).toEqual([2, 2]);
    expect(distance(multiply(left, right), m)).toBeCloseTo(Math.hypot(...S.slice(2)), 12);
    expect(distance(multiply(lowRank(m, 99).left, lowRank(m, 99).right), m)).toBeLessThan(1e-12);
  });

  test('the largest parts of a large matrix are found without all of it, and come in the rank that is asked for', () => {
    const m = normal(60, 90);
    const [exact, quick] = [lowRank(m, 12), largestParts(m, 12)];
    const error = ({ left, right }: typeof exact) => distance(multiply(left, right), m);
    expect(error(quick)).toBeGreaterThanOrEqual(error(exact) - 1e-9);
    expect(error(quick)).toBeLessThan(1.01 * error(exact));
    expect(largestParts(m, 12)).toEqual(quick);
    const small = largestParts(normal(4, 3), 5);
    expect([small.left.cols, small.right.rows]).toEqual([5, 5]);
  });

  test('zeros', () => {
    const { U, S } = svd(matrix(3, 2));
    expect([...S]).toEqual([0, 0]);
    expect(frobenius(U)).toBe(0);
  });
});
