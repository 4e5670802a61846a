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
  trace,
  transpose,
} from '../../tensors/linalg.ts';
import { ownKey, sharedKey, tensorOf } from '../bank.ts';
import type { Bank } from '../method.ts';

/** Names of the tensors, in banks and in the engine. */
export const SHARED = ['A', 'B0'] as const;
export const OWN = ['B_tilde', 'A_tilde', 'a'] as const;
/** Of a task, in banks alone: for training later ones. */
export const SENSITIVITY = 'sensitivity';

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
  /** How much the task's loss feels each row of ΔW, [out, 1]; absent where all count alike (sensitivity.ts). */
  readonly sensitivity?: Matrix;
}

/** The shared factors of a layer as they are in a bank. */
export function sharedOf(bank: Bank, layer: string): Shared {
  const read = (tensor: string) => fromHost(tensorOf(bank, sharedKey(layer, tensor)));
  return { A: read('A'), B0: read('B0') };
}

/** A task's own factors of a layer as they are in a bank. */
export function ownOf(bank: Bank, task: string, layer: string): Own {
  const tensor = (name: string) => tensorOf(bank, ownKey(task, layer, name));
  const sensitivity = bank.tensors.get(ownKey(task, layer, SENSITIVITY));
  return {
    ...{ B: fromHost(tensor('B_tilde')), A: fromHost(tensor('A_tilde')), a: tensor('a').data[0]! },
    ...(sensitivity && { sensitivity: fromHost(sensitivity) }),
  };
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

/** Every row of m [rows, cols] times a function of its number in `by` [rows, 1]. */
export function timesRows(m: Matrix, by: Matrix, of: (value: number) => number = (value) => value): Matrix {
  const data = m.data.map((value, i) => value * of(by.data[Math.floor(i / m.cols)]!));
  return matrix(m.rows, m.cols, data);
}

/** Share of the mean diagonal that keeps A Aᵀ invertible. */
const RIDGE = 1e-6;

/** How tasks are expressed anew. */
export interface Reanchoring {
  /** α is chosen anew too; otherwise it is kept. */
  readonly blend: boolean;
  /** M with M Mᵀ the second moment of the layer's inputs, [in, in]: errors count as these inputs see them. Null: in ΔW. */
  readonly inputs: Matrix | null;
}

/** α among which the search begins; 1/(1 − α) must stay small. */
const BLENDS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/** Turns from there, each of which lowers the error. */
const BLEND_TURNS = 6;

/**
 * Re-anchoring (ours, closed form): learned tasks expressed in other shared factors.
 *
 *     B' = B_old A° Aᵀ G⁻¹, G = A Aᵀ            the best factor on the new A
 *     D  = (B' − α·B0)/(1−α), G = L Lᵀ          what the own part must be
 *     U S Wᵀ = svd(D L);  B̃ = U_q S^½, Ã = S^½ W_qᵀ L⁻¹     the best rank-q part, error measured in ΔW
 *
 * With `inputs` M, A M stands for A and A° M for A°. With a sensitivity S of its rows, W is of √S·D L: the best part of rank q
 * where rows count so. What depends on the shared factors alone is computed once for all tasks.
 */
export function reanchoring(old: Shared, next: Shared, { blend: chooses, inputs }: Reanchoring): (own: Own) => Own {
  const r = next.A.rows;
  const [oldA, nextA] = inputs ? [multiply(old.A, inputs), multiply(next.A, inputs)] : [old.A, next.A];
  // The mean of the diagonal of A Aᵀ is ‖A‖²/r.
  const G = ridge(multiply(nextA, nextA, false, true), (RIDGE * inner(nextA, nextA)) / r);
  const L = cholesky(G);
  // A° Aᵀ G⁻¹, [r, r]
  const turn = transpose(solve(G, multiply(nextA, oldA, false, true)));
  const basis = multiply(next.B0, L);
  return (own) => {
    const q = own.A.rows;
    const best = multiply(multiply(blend(old.B0, own), turn), L);
    const counted = (m: Matrix) => (own.sensitivity ? timesRows(m, own.sensitivity, Math.sqrt) : m);
    const alpha = chooses ? chooseBlend(counted(best), counted(basis), sigmoid(own.a), q) : sigmoid(own.a);
    const DL = scale(add(best, basis, -alpha), 1 / (1 - alpha));
    const W = strongest(counted(DL), q);
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
    return { B, A: transpose(solve(G, half)), a: chooses ? Math.log(alpha / (1 - alpha)) : own.a };
  };
}

/** The first right singular vectors of m [out, r], [r, ≤ q]: those of its r × r Gram matrix, which is far smaller. */
function strongest(m: Matrix, q: number): Matrix {
  return firstColumns(svd(gram(m)).V, Math.min(q, m.cols));
}

/**
 * The α for which `best` − α·`basis` is nearest to rank q. From the best of some: in turn the rank-q part for α, by its
 * singular vectors W, and the α for that part, ⟨best − part, basis⟩ / ‖basis‖². All through r × r products.
 */
function chooseBlend(best: Matrix, basis: Matrix, kept: number, q: number): number {
  const size = inner(basis, basis);
  if (size === 0) return kept;
  const cross = multiply(best, basis, true);
  const own = gram(basis);
  const part = (alpha: number) => {
    const rest = add(best, basis, -alpha);
    const W = strongest(rest, q);
    const held = multiply(rest, W);
    return { alpha, W, error: inner(rest, rest) - inner(held, held) };
  };
  let chosen = [kept, ...BLENDS].map(part).reduce((a, b) => (b.error < a.error ? b : a));
  for (let i = 0; i < BLEND_TURNS; i++) {
    const { W, alpha } = chosen;
    // ⟨best, basis⟩ = tr(cross), and ⟨part, basis⟩ = tr(Wᵀ (cross − α·own) W) for part = (best − α·basis) W Wᵀ.
    const next = (trace(cross) - inner(multiply(add(cross, own, -alpha), W), W)) / size;
    chosen = part(Math.min(Math.max(next, 0.02), 0.95));
  }
  return chosen.alpha;
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
