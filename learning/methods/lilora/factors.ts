import { svd } from '../../tensors/decompose.ts';
import {
  add,
  cholesky,
  firstColumns,
  frobenius,
  fromHost,
  gram,
  inner,
  type Matrix,
  matrix,
  multiply,
  ridge,
  scale,
  solve,
  transpose,
} from '../../tensors/linalg.ts';
import { ownKey, sharedKey, tensorOf } from '../bank.ts';
import type { Bank } from '../method.ts';

/** Names of the tensors, in banks and in the engine. */
export const SHARED = ['A', 'B0'] as const;
export const OWN = ['B_tilde', 'A_tilde', 'a'] as const;

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

/** The shared factors of a layer as they are in a bank. */
export function sharedOf(bank: Bank, layer: string): Shared {
  const read = (tensor: string) => fromHost(tensorOf(bank, sharedKey(layer, tensor)));
  return { A: read('A'), B0: read('B0') };
}

/** A task's own factors of a layer as they are in a bank. */
export function ownOf(bank: Bank, task: string, layer: string): Own {
  const tensor = (name: string) => tensorOf(bank, ownKey(task, layer, name));
  return { B: fromHost(tensor('B_tilde')), A: fromHost(tensor('A_tilde')), a: tensor('a').data[0]! };
}

/** 1 − sigmoid(a) is sigmoid(−a), without cancellation. */
export const sigmoid = (a: number) => 1 / (1 + Math.exp(-a));

/** B_t = α·B0 + (1−α)·B̃ Ã, [out, r]: with A the ordinary LoRA of the task (arXiv 2508.06202, the definition of ΔW_t). */
export function blend(B0: Matrix, own: Own): Matrix {
  return add(scale(B0, sigmoid(own.a)), multiply(own.B, own.A), sigmoid(-own.a));
}

/** ‖B₁A₁ − B₂A₂‖_F / ‖B₂A₂‖_F through r × r products; [out, in] is never formed. 0 when both are zero. */
export function relativeChange(B1: Matrix, A1: Matrix, B2: Matrix, A2: Matrix): number {
  const product = (Ba: Matrix, Aa: Matrix, Bb: Matrix, Ab: Matrix) =>
    inner(multiply(Ba, Bb, true), multiply(Aa, Ab, false, true));
  const size = product(B2, A2, B2, A2);
  const change = Math.max(0, product(B1, A1, B1, A1) - 2 * product(B1, A1, B2, A2) + size);
  return change === 0 ? 0 : Math.sqrt(change / Math.max(size, Number.MIN_VALUE));
}

/** Share of the mean diagonal that keeps A Aᵀ invertible. */
const RIDGE = 1e-6;

/**
 * Re-anchoring (ours, closed form): learned tasks expressed in other shared factors, their α kept.
 *
 *     B' = B_old A° Aᵀ G⁻¹, G = A Aᵀ            the best factor on the new A
 *     D  = (B' − α·B0)/(1−α), G = L Lᵀ          what the own part must be
 *     U S Wᵀ = svd(D L);  B̃ = U_q S^½, Ã = S^½ W_qᵀ L⁻¹     the best rank-q part, error measured in ΔW
 *
 * What depends on the shared factors alone is computed once for all tasks.
 */
export function reanchoring(old: Shared, next: Shared): (own: Own) => Own {
  const r = next.A.rows;
  // The mean of the diagonal of A Aᵀ is ‖A‖²/r.
  const G = ridge(multiply(next.A, next.A, false, true), (RIDGE * inner(next.A, next.A)) / r);
  const L = cholesky(G);
  // A° Aᵀ G⁻¹, [r, r]
  const turn = transpose(solve(G, multiply(next.A, old.A, false, true)));
  return (own) => {
    const best = multiply(blend(old.B0, own), turn);
    const D = scale(add(best, next.B0, -sigmoid(own.a)), 1 / sigmoid(-own.a));
    const DL = multiply(D, L);
    // The right singular vectors of [out, r] are those of its r × r Gram matrix, which is far smaller.
    const { V } = svd(gram(DL));
    const q = own.A.rows;
    const W = firstColumns(V, Math.min(q, r));
    const left = multiply(DL, W);
    const right = multiply(L, W);
    const B = matrix(left.rows, q);
    const half = matrix(r, q);
    for (let i = 0; i < W.cols; i++) {
      const root = Math.sqrt(columnNorm(left, i));
      if (root === 0) continue;
      for (let row = 0; row < left.rows; row++) B.data[row * q + i] = left.data[row * W.cols + i]! / root;
      for (let row = 0; row < r; row++) half.data[row * q + i] = right.data[row * W.cols + i]! * root;
    }
    // S^½ Wᵀ L⁻¹ = (G⁻¹ L W S^½)ᵀ
    return { B, A: transpose(solve(G, half)), a: own.a };
  };
}

function columnNorm(m: Matrix, column: number): number {
  return frobenius(
    matrix(
      m.rows,
      1,
      Float64Array.from({ length: m.rows }, (_, row) => m.data[row * m.cols + column]!),
    ),
  );
}
