import { largestParts, qr } from '../../tensors/decompose.ts';
import {
  add,
  cholesky,
  firstColumns,
  type Matrix,
  matrix,
  multiply,
  ridge,
  solve,
  solveLower,
  solveTransposed,
  trace,
  transpose,
} from '../../tensors/linalg.ts';

/** A_G: the directions of most energy in old and new inputs together, as rows [rank, in]. */
export function generalDirections(old: Matrix | null, now: Matrix, rank: number): Matrix {
  return largestParts(old ? add(old, now) : now, rank).right;
}

/**
 * A_I: the directions where new inputs have most energy for the energy that old ones have there, as orthonormal rows
 * [rank, in]: S_new u = λ (S_old + ε tr(S_old)/d I) u, by Cholesky.
 */
export function isolatedDirections(old: Matrix, now: Matrix, rank: number, epsilon: number): Matrix {
  const L = cholesky(ridge(old, epsilon * (trace(old) / old.rows) || 1));
  // L⁻¹ S L⁻ᵀ
  const whitened = solveLower(L, transpose(solveLower(L, now)));
  const strongest = largestParts(whitened, Math.min(rank, now.rows)).right;
  const directions = solveTransposed(L, transpose(strongest));
  return rowsOf(qr(directions).Q, rank);
}

/**
 * Λ_G = (A S_new Aᵀ) (A (S_old + S_new) Aᵀ)⁻¹, [r, r]: of a change B A the part BΛA with the least error, no change on old
 * inputs and all of it on new ones.
 */
export function generalShare(A: Matrix, old: Matrix, now: Matrix): Matrix {
  const within = (moments: Matrix) => multiply(multiply(A, moments), A, false, true);
  const [part, whole] = [within(now), within(add(old, now))];
  // Transposed, because both are symmetric: Λ wholeᵀ = part ⇔ whole Λᵀ = partᵀ.
  return transpose(solve(ridge(whole, 1e-9 * (trace(whole) / whole.rows) || 1), transpose(part)));
}

/** The first columns as rows; zeros where there are not so many. */
function rowsOf(columns: Matrix, rank: number): Matrix {
  const count = Math.min(rank, columns.cols);
  const out = matrix(rank, columns.rows);
  out.data.set(transpose(firstColumns(columns, count)).data);
  return out;
}
