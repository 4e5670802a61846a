import * as tf from '@tensorflow/tfjs';
import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { add, gram, type Matrix, matrix, scale } from '../../tensors/linalg.ts';
import type { Active } from '../method.ts';
import { blend, host, type Own, type Shared, sigmoid } from './factors.ts';
import type { LiloraOptions } from './options.ts';

/** Below this norm a product has no direction: similarity 0. */
const TINY = 1e-12;

/**
 * cos(vec(B̃₁Ã₁), vec(B̃₂Ã₂)) from q × q products: ⟨B̃₁Ã₁, B̃₂Ã₂⟩ = Σ (B̃₁ᵀB̃₂) ∘ (Ã₁Ã₂ᵀ). Scalar.
 */
export function similarity(B1: tf.Tensor2D, A1: tf.Tensor2D, B2: tf.Tensor2D, A2: tf.Tensor2D): tf.Scalar {
  const product = (Ba: tf.Tensor2D, Aa: tf.Tensor2D, Bb: tf.Tensor2D, Ab: tf.Tensor2D) =>
    tf.sum(tf.mul(tf.matMul(Ba, Bb, true, false), tf.matMul(Aa, Ab, false, true)));
  const floor = TINY * TINY;
  const [n1, n2] = [product(B1, A1, B1, A1), product(B2, A2, B2, A2)];
  const cosine = tf.div(product(B1, A1, B2, A2), tf.sqrt(tf.mul(tf.maximum(n1, floor), tf.maximum(n2, floor))));
  return tf.where(
    tf.logicalAnd(tf.greater(n1, floor), tf.greater(n2, floor)),
    cosine,
    tf.zerosLike(cosine),
  ) as tf.Scalar;
}

/** The same number without a gradient: the model must not lower the loss by making tasks look alike. */
const similarityOnly = tf.customGrad(((B1: tf.Tensor2D, A1: tf.Tensor2D, B2: tf.Tensor2D, A2: tf.Tensor2D) => ({
  value: similarity(B1, A1, B2, A2),
  gradFunc: () => [B1, A1, B2, A2].map((tensor) => tf.zerosLike(tensor)),
})) as never) as unknown as typeof similarity;

/** L_reg of one layer: (1 − sim) · ‖B0 − B0_old‖²_F (arXiv 2508.06202, the stability loss). */
function stability(active: Active, layer: string, options: LiloraOptions): tf.Tensor | null {
  const old = active.constant(layer, 'B0_old');
  if (!old) return null;
  const own = [active.get(layer, 'B_tilde'), active.get(layer, 'A_tilde')] as [tf.Tensor2D, tf.Tensor2D];
  const previous = [active.constant(layer, 'B_tilde_prev'), active.constant(layer, 'A_tilde_prev')] as [
    tf.Tensor2D,
    tf.Tensor2D,
  ];
  const sim = (options.similarityGradient ? similarity : similarityOnly)(...own, ...previous);
  const kept = options.clampSimilarity ? tf.clipByValue(sim, 0, 1) : sim;
  return tf.mul(tf.sub(1, kept), tf.sum(tf.square(tf.sub(active.get(layer, 'B0'), old))));
}

/** The three sums over earlier tasks that make the anchor penalty independent of their number. */
export function anchorSums(old: Shared, earlier: readonly Own[]): { a2: number; V: Matrix; K: Matrix } {
  const r = old.A.rows;
  let [a2, V, K] = [0, matrix(old.B0.rows, r), matrix(r, r)];
  for (const own of earlier) {
    const alpha = sigmoid(own.a);
    const B = blend(old.B0, own);
    a2 += alpha * alpha;
    V = add(V, scale(B, alpha));
    K = add(K, gram(B));
  }
  return { a2, V, K };
}

/** The constants of one layer that `anchor` reads. */
export function anchorConstants(old: Shared, earlier: readonly Own[]): Record<string, HostTensor> {
  const { a2, V, K } = anchorSums(old, earlier);
  return {
    A_old: host.write(old.A),
    B0_start: host.write(old.B0),
    anchor_a2: { shape: [], data: Float32Array.of(a2) },
    anchor_V: host.write(V),
    anchor_K: host.write(K),
  };
}

/**
 * R_anchor of one layer (ours): Σ_j ‖(α_j·B0 + (1−α_j)·B̃_jÃ_j)·A − B_j°·A°‖²_F over the earlier tasks j. With N = A − A°
 * and M = B0 − B0° each term is B_j°·N + α_j·M·A, so that
 *
 *     R = tr(K·N Nᵀ) + 2·tr(Vᵀ M · A Nᵀ) + a2·tr(MᵀM · A Aᵀ)
 */
function anchor(active: Active, layer: string): tf.Tensor | null {
  const old = active.constant(layer, 'A_old');
  if (!old) return null;
  const constant = (name: string) => active.constant(layer, name) as tf.Tensor2D;
  const A = active.get(layer, 'A') as tf.Tensor2D;
  const N = tf.sub(A, old) as tf.Tensor2D;
  const M = tf.sub(active.get(layer, 'B0'), constant('B0_start')) as tf.Tensor2D;
  const moved = tf.sum(tf.mul(constant('anchor_K'), tf.matMul(N, N, false, true)));
  // tr(X Y) = Σ X ∘ Yᵀ, and (A Nᵀ)ᵀ = N Aᵀ
  const both = tf.sum(tf.mul(tf.matMul(constant('anchor_V'), M, true, false), tf.matMul(N, A, false, true)));
  const basis = tf.sum(tf.mul(tf.matMul(M, M, true, false), tf.matMul(A, A, false, true)));
  return tf.addN([moved, tf.mul(both, 2), tf.mul(basis, constant('anchor_a2'))]);
}

/** λ·L_reg + μ·R_anchor over all layers; zero when there is no earlier task. */
export function penalty(active: Active, options: LiloraOptions): tf.Scalar {
  const share = options.layerReduction === 'mean' ? 1 / active.layers.length : 1;
  const terms: tf.Tensor[] = [];
  for (const { name } of active.layers) {
    const stable = options.stabilityWeight > 0 ? stability(active, name, options) : null;
    const anchored = options.anchorWeight > 0 ? anchor(active, name) : null;
    if (stable) terms.push(tf.mul(stable, options.stabilityWeight * share));
    if (anchored) terms.push(tf.mul(anchored, options.anchorWeight * share));
  }
  return (terms.length > 0 ? tf.addN(terms) : tf.scalar(0)) as tf.Scalar;
}

/** What the penalty needs to know of one layer when a task begins after others. */
export function constantsOf(layer: string, old: Shared, earlier: readonly Own[], options: LiloraOptions): TensorMap {
  const constants: TensorMap = new Map();
  const put = (name: string, tensor: HostTensor) => constants.set(`${layer}/${name}`, tensor);
  const previous = earlier.at(-1);
  if (previous && options.sharedBasis === 'regularized' && options.stabilityWeight > 0) {
    put('B0_old', host.write(old.B0));
    put('B_tilde_prev', host.write(previous.B));
    put('A_tilde_prev', host.write(previous.A));
  }
  const moves = options.sharedBasis === 'regularized' || options.sharedA === 'trainable';
  if (previous && moves && options.anchorWeight > 0)
    for (const [name, tensor] of Object.entries(anchorConstants(old, earlier))) put(name, tensor);
  return constants;
}
