import { LiloraError } from '../../core/errors.ts';
import type { HostTensor } from '../../core/host-tensor.ts';

/** A dense matrix of float64 numbers on the host, row-major. Functions here never change their arguments. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float64Array;
}

/** A matrix from row-major numbers; zeros when they are absent. */
export function matrix(rows: number, cols: number, data?: ArrayLike<number>): Matrix {
  if (data && data.length !== rows * cols) {
    throw new LiloraError(
      'BadConfig',
      `${data.length} numbers do not fill a ${rows} × ${cols} matrix. Check the shape.`,
    );
  }
  return { rows, cols, data: data ? Float64Array.from(data) : new Float64Array(rows * cols) };
}

export function identity(n: number): Matrix {
  const out = matrix(n, n);
  for (let i = 0; i < n; i++) out.data[i * n + i] = 1;
  return out;
}

/** The rank-2 host tensor as float64. */
export function fromHost(tensor: HostTensor): Matrix {
  const [rows, cols] = tensor.shape;
  if (tensor.shape.length !== 2)
    throw new LiloraError('BadConfig', `[${tensor.shape}] is no matrix. Reshape it first.`);
  return matrix(rows!, cols!, tensor.data);
}

/** The matrix rounded to float32. */
export function toHost(m: Matrix): HostTensor {
  return { shape: [m.rows, m.cols], data: Float32Array.from(m.data) };
}

export function transpose(m: Matrix): Matrix {
  const out = matrix(m.cols, m.rows);
  for (let i = 0; i < m.rows; i++) for (let j = 0; j < m.cols; j++) out.data[j * m.rows + i] = m.data[i * m.cols + j]!;
  return out;
}

/** a b; with `ta` / `tb` the transpose of a / of b is taken. */
export function multiply(a: Matrix, b: Matrix, ta = false, tb = false): Matrix {
  const left = ta ? transpose(a) : a;
  const right = tb ? transpose(b) : b;
  if (left.cols !== right.rows) {
    const shapes = `${left.rows} × ${left.cols} times ${right.rows} × ${right.cols}`;
    throw new LiloraError('BadConfig', `Matrix product of ${shapes}: the inner sizes differ. Check the factors.`);
  }
  const n = right.cols;
  const out = matrix(left.rows, n);
  for (let i = 0; i < left.rows; i++) {
    const row = out.data.subarray(i * n, (i + 1) * n);
    for (let k = 0; k < left.cols; k++) {
      const factor = left.data[i * left.cols + k]!;
      if (factor === 0) continue;
      const other = right.data.subarray(k * n, (k + 1) * n);
      for (let j = 0; j < n; j++) row[j]! += factor * other[j]!;
    }
  }
  return out;
}

/** mᵀ m, [cols, cols]. */
export function gram(m: Matrix): Matrix {
  return multiply(m, m, true);
}

/** a + factor · b. */
export function add(a: Matrix, b: Matrix, factor = 1): Matrix {
  sameShape(a, b);
  return { rows: a.rows, cols: a.cols, data: a.data.map((x, i) => x + factor * b.data[i]!) };
}

export function scale(m: Matrix, factor: number): Matrix {
  return { rows: m.rows, cols: m.cols, data: m.data.map((x) => x * factor) };
}

/** Sum of the products of entries: ⟨a, b⟩_F. */
export function inner(a: Matrix, b: Matrix): number {
  sameShape(a, b);
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += a.data[i]! * b.data[i]!;
  return sum;
}

/** The sum of the diagonal of a square matrix. */
export function trace(m: Matrix): number {
  const n = square(m);
  let sum = 0;
  for (let i = 0; i < n; i++) sum += m.data[i * n + i]!;
  return sum;
}

/** ‖m‖_F. */
export function frobenius(m: Matrix): number {
  return Math.sqrt(inner(m, m));
}

/** The first `count` columns. */
export function firstColumns(m: Matrix, count: number): Matrix {
  const out = matrix(m.rows, count);
  for (let i = 0; i < m.rows; i++) out.data.set(m.data.subarray(i * m.cols, i * m.cols + count), i * count);
  return out;
}

/** The lower triangle L with m = L Lᵀ. `BadConfig` when m is not positive definite. */
export function cholesky(m: Matrix): Matrix {
  const n = square(m);
  const L = matrix(n, n);
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let sum = m.data[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= L.data[i * n + k]! * L.data[j * n + k]!;
      if (i > j) L.data[i * n + j] = sum / L.data[j * n + j]!;
      else if (sum > 0) L.data[i * n + i] = Math.sqrt(sum);
      else {
        const problem = `The ${n} × ${n} matrix is not positive definite (pivot ${j} is ${sum})`;
        throw new LiloraError('BadConfig', `${problem}. Add a ridge to its diagonal.`);
      }
    }
  }
  return L;
}

/** X with m X = b, for a symmetric positive definite m (Cholesky). Add a ridge before when m may be singular. */
export function solve(m: Matrix, b: Matrix): Matrix {
  const L = cholesky(m);
  return solveTransposed(L, solveLower(L, b));
}

/** X with L X = b, for a lower triangle L. */
export function solveLower(L: Matrix, b: Matrix): Matrix {
  const { n, x } = unknowns(L, b);
  for (let c = 0; c < b.cols; c++)
    for (let i = 0; i < n; i++) {
      let sum = x.data[i * b.cols + c]!;
      for (let k = 0; k < i; k++) sum -= L.data[i * n + k]! * x.data[k * b.cols + c]!;
      x.data[i * b.cols + c] = sum / L.data[i * n + i]!;
    }
  return x;
}

/** X with Lᵀ X = b, for a lower triangle L. */
export function solveTransposed(L: Matrix, b: Matrix): Matrix {
  const { n, x } = unknowns(L, b);
  for (let c = 0; c < b.cols; c++)
    for (let i = n - 1; i >= 0; i--) {
      let sum = x.data[i * b.cols + c]!;
      for (let k = i + 1; k < n; k++) sum -= L.data[k * n + i]! * x.data[k * b.cols + c]!;
      x.data[i * b.cols + c] = sum / L.data[i * n + i]!;
    }
  return x;
}

function unknowns(m: Matrix, b: Matrix): { n: number; x: Matrix } {
  const n = square(m);
  if (b.rows !== n)
    throw new LiloraError('BadConfig', `Solving with ${n} equations and ${b.rows} rows. Check the shapes.`);
  return { n, x: matrix(n, b.cols, b.data) };
}

/** m with `value` added to its diagonal. */
export function ridge(m: Matrix, value: number): Matrix {
  const n = square(m);
  const out = matrix(n, n, m.data);
  for (let i = 0; i < n; i++) out.data[i * n + i]! += value;
  return out;
}

function square(m: Matrix): number {
  if (m.rows !== m.cols) throw new LiloraError('BadConfig', `${m.rows} × ${m.cols} is not square. Check the shapes.`);
  return m.rows;
}

function sameShape(a: Matrix, b: Matrix): void {
  if (a.rows === b.rows && a.cols === b.cols) return;
  const shapes = `${a.rows} × ${a.cols} and ${b.rows} × ${b.cols}`;
  throw new LiloraError('BadConfig', `Matrices of different shapes, ${shapes}. Check the operands.`);
}
