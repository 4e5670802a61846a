import type { HostTensor } from '../../../core/host-tensor.ts';
import { svd } from '../../tensors/decompose.ts';
import {
  add,
  cholesky,
  firstColumns,
  fromHost,
  gram,
  inner,
  type Matrix,
  multiply,
  ridge,
  scale,
  solve,
  toHost,
  transpose,
} from '../../tensors/linalg.ts';

/** The shared factors of one layer: A [r, in], B0 [out, r]. */
export interface Shared {
  readonly A: Matrix;
  readonly B0: Matrix;
}

/** A task's own factors of one layer: B̃ [out, q], Ã [q, r], a (before the sigmoid). */
export interface Own {
  readonly B: Matrix;
  readonly A: Matrix;
  readonly a: number;
}

export const sigmoid = (a: number) => 1 / (1 + Math.exp(-a));

/** B_t = α·B0 + (1−α)·B̃ Ã, [out, r]: with A the ordinary LoRA of the task (arXiv 2508.06202, the definition of ΔW_t). */
export function blend(B0: Matrix, own: Own): Matrix {
  const alpha = sigmoid(own.a);
  return add(scale(B0, alpha), multiply(own.B, own.A), 1 - alpha);
}

/** ‖B₁A₁ − B₂A₂‖²_F and ‖B₂A₂‖²_F through r × r products; [out, in] is never formed. */
export function deltaChange(B1: Matrix, A1: Matrix, B2: Matrix, A2: Matrix): { change: number; size: number } {
  const product = (Ba: Matrix, Aa: Matrix, Bb: Matrix, Ab: Matrix) =>
    inner(multiply(Ba, Bb, true), multiply(Aa, Ab, false, true));
  const size = product(B2, A2, B2, A2);
  return { change: Math.max(0, product(B1, A1, B1, A1) - 2 * product(B1, A1, B2, A2) + size), size };
}

/** Share of the mean diagonal that keeps A Aᵀ invertible. */
const RIDGE = 1e-6;

/**
 * Re-anchoring (ours, closed form): a learned task expressed in other shared factors, its α kept.
 *
 *     B' = B_old A° Aᵀ G⁻¹, G = A Aᵀ            the best factor on the new A
 *     D  = (B' − α·B0)/(1−α), G = L Lᵀ          what the own part must be
 *     U S Wᵀ = svd(D L);  B̃ = U_q S^½, Ã = S^½ W_qᵀ L⁻¹     the best rank-q part, error measured in ΔW
 */
export function reanchor(own: Own, old: Shared, next: Shared): Own {
  const alpha = sigmoid(own.a);
  const q = own.A.rows;
  const raw = gram(transpose(next.A));
  const mean = raw.data.reduce((sum, value, i) => (i % (raw.cols + 1) === 0 ? sum + value : sum), 0) / raw.rows;
  const G = ridge(raw, RIDGE * mean);
  const crossed = multiply(blend(old.B0, own), multiply(old.A, next.A, false, true));
  const best = transpose(solve(G, transpose(crossed)));
  const D = scale(add(best, scale(next.B0, alpha), -1), 1 / (1 - alpha));
  const L = cholesky(G);
  const { U, S, V } = svd(multiply(D, L));
  const roots = Float64Array.from(S.subarray(0, q), Math.sqrt);
  const left = columns(firstColumns(U, q), roots);
  const right = columns(firstColumns(V, q), roots);
  // S^½ W_qᵀ L⁻¹ = (S^½ W_qᵀ Lᵀ) G⁻¹
  return { B: left, A: transpose(solve(G, multiply(L, right))), a: own.a };
}

function columns(m: Matrix, factors: Float64Array): Matrix {
  return { ...m, data: m.data.map((value, i) => value * factors[i % m.cols]!) };
}

export const host = { read: (tensor: HostTensor) => fromHost(tensor), write: (m: Matrix) => toHost(m) };
