import { Random } from '../training/random.ts';
import { firstColumns, type Matrix, matrix, multiply, transpose } from './linalg.ts';

/** Sweeps after which Jacobi rotation stops at the latest; about 6 to 10 are needed. */
const MAX_SWEEPS = 60;

/**
 * The thin QR decomposition m = Q R by Householder reflections, for rows ≥ cols: Q [rows, cols] has orthonormal
 * columns, R [cols, cols] is upper triangular with a diagonal that is not negative (so Q and R are unique).
 */
export function qr(m: Matrix): { Q: Matrix; R: Matrix } {
  const { rows, cols } = m;
  const work = Float64Array.from(m.data);
  const reflectors: Float64Array[] = [];
  for (let k = 0; k < cols; k++) {
    const v = new Float64Array(rows);
    let norm = 0;
    for (let i = k; i < rows; i++) norm = Math.hypot(norm, work[i * cols + k]!);
    if (norm > 0) {
      for (let i = k; i < rows; i++) v[i] = work[i * cols + k]!;
      v[k]! += v[k]! >= 0 ? norm : -norm;
      reflect(v, work, cols, k);
    }
    reflectors.push(v);
  }
  const Q = matrix(rows, cols);
  for (let j = 0; j < cols; j++) Q.data[j * cols + j] = 1;
  for (let k = cols - 1; k >= 0; k--) reflect(reflectors[k]!, Q.data, cols, k);
  const R = matrix(cols, cols);
  for (let i = 0; i < cols; i++) {
    const sign = work[i * cols + i]! < 0 ? -1 : 1;
    for (let j = i; j < cols; j++) R.data[i * cols + j] = sign * work[i * cols + j]!;
    if (sign < 0) for (let r = 0; r < rows; r++) Q.data[r * cols + i]! *= -1;
  }
  return { Q, R };
}

/** data ← (I − 2 v vᵀ / vᵀv) data, in place; v is zero above row `from`. */
function reflect(v: Float64Array, data: Float64Array, cols: number, from: number): void {
  let vv = 0;
  for (let i = from; i < v.length; i++) vv += v[i]! * v[i]!;
  if (vv === 0) return;
  for (let j = 0; j < cols; j++) {
    let dot = 0;
    for (let i = from; i < v.length; i++) dot += v[i]! * data[i * cols + j]!;
    const factor = (2 * dot) / vv;
    for (let i = from; i < v.length; i++) data[i * cols + j]! -= factor * v[i]!;
  }
}

/** m = U diag(S) Vᵀ with k = min(rows, cols): U [rows, k], S descending, V [cols, k]. */
export interface Svd {
  readonly U: Matrix;
  readonly S: Float64Array;
  readonly V: Matrix;
}

/**
 * The thin singular value decomposition by one-sided Jacobi rotation (Hestenes 1958; Golub & Van Loan §8.6.3), which
 * keeps small singular values accurate where an eigendecomposition of the Gram matrix loses half of the digits. For
 * unique signs the largest entry of every column of V is positive. Columns of U that belong to a zero are zero.
 */
export function svd(m: Matrix): Svd {
  if (m.rows < m.cols) {
    const { U, S, V } = svd(transpose(m));
    return signed({ U: V, S, V: U });
  }
  const { rows, cols } = m;
  // Columns of m as rows, so that a rotation walks through memory in order.
  const u = transpose(m).data;
  const v = new Float64Array(cols * cols);
  for (let i = 0; i < cols; i++) v[i * cols + i] = 1;
  for (let sweep = 0, rotated = true; rotated && sweep < MAX_SWEEPS; sweep++) {
    rotated = false;
    for (let p = 0; p < cols - 1; p++) {
      for (let q = p + 1; q < cols; q++) rotated = rotatePair(u, v, p, q, rows, cols) || rotated;
    }
  }
  return signed(collect(u, v, rows, cols));
}

/** Makes columns p and q orthogonal; false when they already are. */
function rotatePair(u: Float64Array, v: Float64Array, p: number, q: number, rows: number, cols: number): boolean {
  const a = u.subarray(p * rows, (p + 1) * rows);
  const b = u.subarray(q * rows, (q + 1) * rows);
  let aa = 0;
  let bb = 0;
  let ab = 0;
  for (let i = 0; i < rows; i++) {
    aa += a[i]! * a[i]!;
    bb += b[i]! * b[i]!;
    ab += a[i]! * b[i]!;
  }
  if (Math.abs(ab) <= 1e-15 * Math.sqrt(aa * bb)) return false;
  const zeta = (bb - aa) / (2 * ab);
  const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.hypot(1, zeta));
  const c = 1 / Math.hypot(1, t);
  turn(a, b, c, c * t);
  turn(v.subarray(p * cols, (p + 1) * cols), v.subarray(q * cols, (q + 1) * cols), c, c * t);
  return true;
}

function turn(a: Float64Array, b: Float64Array, c: number, s: number): void {
  for (let i = 0; i < a.length; i++) {
    const x = a[i]!;
    a[i] = c * x - s * b[i]!;
    b[i] = s * x + c * b[i]!;
  }
}

function collect(u: Float64Array, v: Float64Array, rows: number, cols: number): Svd {
  const norms = Float64Array.from({ length: cols }, (_, j) => {
    let sum = 0;
    for (const x of u.subarray(j * rows, (j + 1) * rows)) sum += x * x;
    return Math.sqrt(sum);
  });
  const order = [...norms.keys()].sort((i, j) => norms[j]! - norms[i]!);
  const U = matrix(rows, cols);
  const V = matrix(cols, cols);
  order.forEach((from, to) => {
    const norm = norms[from]!;
    for (let i = 0; i < rows; i++) U.data[i * cols + to] = norm > 0 ? u[from * rows + i]! / norm : 0;
    for (let i = 0; i < cols; i++) V.data[i * cols + to] = v[from * cols + i]!;
  });
  return { U, S: Float64Array.from(order, (j) => norms[j]!), V };
}

function signed({ U, S, V }: Svd): Svd {
  for (let j = 0; j < V.cols; j++) {
    let largest = 0;
    for (let i = 0; i < V.rows; i++) {
      const x = V.data[i * V.cols + j]!;
      if (Math.abs(x) > Math.abs(largest) * (1 + 1e-9)) largest = x;
    }
    if (largest >= 0) continue;
    for (let i = 0; i < V.rows; i++) V.data[i * V.cols + j]! *= -1;
    for (let i = 0; i < U.rows; i++) U.data[i * U.cols + j]! *= -1;
  }
  return { U, S, V };
}

/** The best approximation of m of the given rank (Eckart–Young) as two factors: m ≈ left right, with left = U S. */
export function lowRank(m: Matrix, rank: number): { left: Matrix; right: Matrix } {
  const { U, S, V } = svd(m);
  const k = Math.min(rank, S.length);
  const left = firstColumns(U, k);
  for (let i = 0; i < left.rows; i++) for (let j = 0; j < k; j++) left.data[i * k + j]! *= S[j]!;
  return { left, right: transpose(firstColumns(V, k)) };
}

/** Directions beyond the rank, and passes over the matrix: the error is then within a per cent of the least possible. */
const [EXTRA, PASSES] = [8, 4];

/**
 * As `lowRank`, by random projection and subspace iteration (Halko, Martinsson & Tropp 2011): for large matrices, whose
 * full decomposition would take hours. Always of the given rank, with zeros where the matrix has less. Deterministic.
 */
export function largestParts(m: Matrix, rank: number): { left: Matrix; right: Matrix } {
  const k = Math.min(rank + EXTRA, m.rows, m.cols);
  const random = new Random(1);
  let basis = matrix(
    m.cols,
    k,
    Array.from({ length: m.cols * k }, () => random.normal()),
  );
  for (let pass = 0; pass < PASSES; pass++) basis = qr(multiply(m, qr(multiply(m, basis)).Q, true)).Q;
  const { Q } = qr(multiply(m, basis));
  const { left, right } = lowRank(multiply(Q, m, true), rank);
  return { left: widened(multiply(Q, left), rank), right: transpose(widened(transpose(right), rank)) };
}

/** With columns of zeros up to `cols`. */
function widened(m: Matrix, cols: number): Matrix {
  const out = matrix(m.rows, cols);
  for (let i = 0; i < m.rows; i++) out.data.set(m.data.subarray(i * m.cols, (i + 1) * m.cols), i * cols);
  return out;
}
