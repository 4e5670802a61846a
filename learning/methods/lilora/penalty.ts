import * as tf from '@tensorflow/tfjs';
import type { TensorMap } from '../../../core/host-tensor.ts';
import { add, gram, type Matrix, matrix, multiply, scale, toHost } from '../../tensors/linalg.ts';
import { withGradient } from '../../tensors/ops.ts';
import type { Active } from '../method.ts';
import { blend, type Own, type Shared, sigmoid, timesRows } from './factors.ts';
import type { LiloraOptions } from './options.ts';

/** Below this norm a product has no direction: similarity 0. */
const TINY = 1e-12;

/**
 * cos(vec(B̃₁Ã₁), vec(B̃₂Ã₂)) from q × q products: ⟨B̃₁Ã₁, B̃₂Ã₂⟩ = Σ (B̃₁ᵀB̃₂) ∘ (Ã₁Ã₂ᵀ). Scalar; 0 where a product has
 * no direction. Gradients flow to the first pair.
 */
export function similarity(B1: tf.Tensor2D, A1: tf.Tensor2D, B2: tf.Tensor2D, A2: tf.Tensor2D): tf.Scalar {
  return withGradient([B1, A1], (B1, A1) => {
    const [BB, AA] = [tf.matMul(B1, B1, true, false), tf.matMul(A1, A1, false, true)];
    const [BC, AC] = [tf.matMul(B1, B2, true, false), tf.matMul(A1, A2, false, true)];
    const n1 = tf.sum(tf.mul(BB, AA));
    const n2 = tf.sum(tf.mul(tf.matMul(B2, B2, true, false), tf.matMul(A2, A2, false, true)));
    const known = tf.greater(tf.minimum(n1, n2), TINY * TINY);
    const orZero = (x: tf.Tensor) => tf.where(known, x, tf.zerosLike(x));
    const over = orZero(tf.mul(tf.rsqrt(n1), tf.rsqrt(n2)));
    const value = tf.mul(tf.sum(tf.mul(BC, AC)), over) as tf.Scalar;
    return {
      value,
      save: [B1, A1, BB, AA, BC, AC, over, orZero(tf.div(value, n1))],
      gradient: (dy, [B1, A1, BB, AA, BC, AC, over, along]) => {
        const part = (other: tf.Tensor, own: tf.Tensor) =>
          tf.mul(tf.sub(tf.mul(other, over!), tf.mul(own, along!)), dy);
        return [
          part(tf.matMul(B2, AC!, false, true), tf.matMul(B1!, AA!)),
          part(tf.matMul(BC!, A2), tf.matMul(BB!, A1!)),
        ];
      },
    };
  });
}

/**
 * L_reg of one layer: (1 − sim) · ‖B0 − B0_old‖²_F (arXiv 2508.06202, the stability loss). Unless asked for, no gradient
 * flows through the similarity: the model must not lower the loss by making tasks look alike.
 */
function stability(active: Active, layer: string, options: LiloraOptions): tf.Tensor | null {
  const previous = active.constant(layer, 'B_tilde_prev') as tf.Tensor2D | undefined;
  if (!previous) return null;
  const old = active.constant(layer, 'B0_old')!;
  const B0 = active.get(layer, 'B0');
  const weight = () => {
    const [B, A] = [active.get(layer, 'B_tilde') as tf.Tensor2D, active.get(layer, 'A_tilde') as tf.Tensor2D];
    const sim = similarity(B, A, previous, active.constant(layer, 'A_tilde_prev') as tf.Tensor2D);
    return tf.sub(1, options.clampSimilarity ? tf.clipByValue(sim, 0, 1) : sim);
  };
  if (options.similarityGradient) return tf.mul(weight(), tf.sum(tf.square(tf.sub(B0, old))));
  return withGradient([B0], (B0) => {
    const [moved, held] = [tf.sub(B0, old), weight()];
    return {
      value: tf.mul(held, tf.sum(tf.square(moved))),
      save: [moved, held],
      gradient: (dy, [moved, held]) => [tf.mul(moved!, tf.mul(tf.mul(held!, dy), 2))],
    };
  });
}

/**
 * The sums over earlier tasks that make the anchor penalty independent of their number. Where the rows of any task count
 * by its sensitivity S_j: Σ α_j²·S_j = a2·rows, V = Σ α_j·S_j B_j° and K = Σ B_j°ᵀS_j B_j°.
 */
export function anchorSums(old: Shared, earlier: readonly Own[]) {
  const [out, r] = [old.B0.rows, old.A.rows];
  let [a2, V, K, rows] = [0, matrix(out, r), matrix(r, r), matrix(out, 1)];
  for (const { sensitivity, ...own } of earlier) {
    const alpha = sigmoid(own.a);
    const B = blend(old.B0, own);
    const counted = sensitivity ? timesRows(B, sensitivity) : B;
    a2 += alpha * alpha;
    V = add(V, scale(counted, alpha));
    K = add(K, sensitivity ? multiply(B, counted, true) : gram(B));
    rows = add(rows, sensitivity ?? ones(out), alpha * alpha);
  }
  return { a2, V, K, rows: earlier.some(({ sensitivity }) => sensitivity) ? scale(rows, 1 / a2) : null };
}

const ones = (rows: number) => matrix(rows, 1, new Float64Array(rows).fill(1));

/**
 * R_anchor of one layer (ours): Σ_j ‖(α_j·B0 + (1−α_j)·B̃_jÃ_j)·A − B_j°·A°‖²_F over the earlier tasks j. With N = A − A°
 * and M = B0 − B0° each term is B_j°·N + α_j·M·A. With P = VᵀM, H = K·N + P·A and J = Pᵀ·N + a2·MᵀM·A
 *
 *     R = ⟨N, H⟩ + ⟨A, J⟩     ∂R/∂A = 2(H + J)     ∂R/∂B0 = 2(V·N Aᵀ + a2·M·A Aᵀ)
 *
 * so nothing of size [out, in] is formed. Where inputs count (`anchorMetric`), A M and A° M stand for A and A°, with M Mᵀ their
 * second moment; where rows do, a2·rows·M stands for a2·M. The gradient is written out because it takes a third of the operations.
 */
function anchor(active: Active, layer: string): tf.Tensor | null {
  const constant = (name: string) => active.constant(layer, name) as tf.Tensor2D;
  const [A_old, B0_old, V, K, a2] = ['A_old', 'B0_old', 'anchor_V', 'anchor_K', 'anchor_a2'].map(constant);
  if (!A_old || !B0_old || !V || !K || !a2) return null;
  const inputs = active.constant(layer, 'anchor_inputs') as tf.Tensor2D | undefined;
  const rows = active.constant(layer, 'anchor_rows') as tf.Tensor2D | undefined;
  const counted = (M: tf.Tensor) => (rows ? tf.mul(M, rows) : M) as tf.Tensor2D;
  const A = active.get(layer, 'A') as tf.Tensor2D;
  return withGradient([inputs ? tf.matMul(A, inputs) : A, active.get(layer, 'B0')], (A, B0) => {
    const [N, M] = [tf.sub(A, A_old), tf.sub(B0, B0_old)];
    const P = tf.matMul(V, M, true, false);
    const H = tf.add(tf.matMul(K, N), tf.matMul(P, A));
    const J = tf.add(tf.matMul(P, N, true, false), tf.mul(tf.matMul(tf.matMul(M, counted(M), true, false), A), a2));
    return {
      value: tf.add(tf.sum(tf.mul(N, H)), tf.sum(tf.mul(A, J))),
      save: [A, N, M, tf.add(H, J)],
      gradient: (dy, [A, N, M, both]) => {
        const left = tf.matMul(V, tf.matMul(N!, A!, false, true));
        const right = tf.mul(tf.matMul(counted(M!), tf.matMul(A!, A!, false, true)), a2);
        const twice = tf.mul(dy, 2);
        return [tf.mul(both!, twice), tf.mul(tf.add(left, right), twice)];
      },
    };
  });
}

/** λ·L_reg + μ·R_anchor over all layers; zero when there is no earlier task. */
export function penalty(active: Active, options: LiloraOptions): tf.Scalar {
  const share = options.layerReduction === 'mean' ? 1 / active.layers.length : 1;
  const weighted = (weight: number, each: (layer: string) => tf.Tensor | null) => {
    const terms = weight > 0 ? active.layers.flatMap(({ name }) => each(name) ?? []) : [];
    return terms.length > 0 ? [tf.mul(tf.addN(terms), weight * share)] : [];
  };
  const terms = [
    ...weighted(options.stabilityWeight, (layer) => stability(active, layer, options)),
    ...weighted(options.anchorWeight, (layer) => anchor(active, layer)),
  ];
  return (terms.length > 0 ? tf.addN(terms) : tf.scalar(0)) as tf.Scalar;
}

/**
 * What the penalty needs to know of one layer when a task begins after others.
 * @param inputs root of the second moment of the layer's inputs, where they count
 */
export function constantsOf(
  layer: string,
  old: Shared,
  earlier: readonly Own[],
  options: LiloraOptions,
  inputs: Matrix | null = null,
): TensorMap {
  const constants: TensorMap = new Map();
  const put = (name: string, m: Matrix) => constants.set(`${layer}/${name}`, toHost(m));
  const previous = earlier.at(-1);
  const basis = options.sharedBasis === 'regularized';
  const stable = basis && options.stabilityWeight > 0;
  const anchored = (basis || options.sharedA === 'trainable') && options.anchorWeight > 0;
  if (!previous || !(stable || anchored)) return constants;
  put('B0_old', old.B0);
  if (stable) {
    put('B_tilde_prev', previous.B);
    put('A_tilde_prev', previous.A);
  }
  if (anchored) {
    const { a2, V, K, rows } = anchorSums(old, earlier);
    put('A_old', inputs ? multiply(old.A, inputs) : old.A);
    if (inputs) put('anchor_inputs', inputs);
    put('anchor_V', V);
    put('anchor_K', K);
    put('anchor_a2', matrix(1, 1, [a2]));
    if (rows) put('anchor_rows', rows);
  }
  return constants;
}
