import * as tf from '@tensorflow/tfjs';
import { ACTIVATIONS } from '../tensors/activations.ts';
import { attention, layerNorm, linear } from '../tensors/ops.ts';
import type { Beyond } from './model.ts';
import type { Weights } from './weights.ts';

/** The pre-norm transformer of CLIP (Radford et al. 2021) and SigLIP (Zhai et al. 2023) towers. */
export interface EncoderConfig {
  readonly width: number;
  /** Width between the two layers of an MLP. */
  readonly inner: number;
  readonly layers: number;
  readonly heads: number;
  readonly activation: string;
  readonly eps: number;
}

const ATTENTION = ['q_proj', 'k_proj', 'v_proj', 'out_proj'];

/** Weight and bias of a norm. */
export const normShapes = (name: string, width: number): [string, number[]][] => [
  [`${name}.weight`, [width]],
  [`${name}.bias`, [width]],
];

/** Weight and bias of a linear layer. */
export const linearShapes = (name: string, out: number, input: number): [string, number[]][] => [
  [`${name}.weight`, [out, input]],
  [`${name}.bias`, [out]],
];

/** Every tensor of the layers `path.0`, `path.1`, …, with its shape. */
export function encoderShapes(path: string, c: EncoderConfig): [string, number[]][] {
  return Array.from({ length: c.layers }, (_, i) => [
    ...normShapes(`${path}.${i}.layer_norm1`, c.width),
    ...ATTENTION.flatMap((part) => linearShapes(`${path}.${i}.self_attn.${part}`, c.width, c.width)),
    ...normShapes(`${path}.${i}.layer_norm2`, c.width),
    ...linearShapes(`${path}.${i}.mlp.fc1`, c.inner, c.width),
    ...linearShapes(`${path}.${i}.mlp.fc2`, c.width, c.inner),
  ]).flat();
}

/** A norm by the name of its weights. */
export function namedNorm(x: tf.Tensor2D, name: string, w: Weights, eps: number): tf.Tensor2D {
  return layerNorm(x, w(`${name}.weight`), w(`${name}.bias`), eps);
}

/** A linear layer with bias by the name of its weights. */
export function namedLinear(x: tf.Tensor2D, name: string, w: Weights, beyond?: Beyond): tf.Tensor2D {
  const y = linear(x, w(`${name}.weight`), w(`${name}.bias`));
  return beyond ? beyond(name, x, y) : y;
}

/** Numbers in the largest table of scores: 256 MiB. */
const MOST_SCORES = 2 ** 26;

/**
 * Attention without a mask, in parts of the queries, so that large pictures do not need a table of all pairs of patches.
 * q, k and v [images, heads, tokens, size].
 */
export function pictureAttention(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, most = MOST_SCORES): tf.Tensor4D {
  const [images, heads, tokens] = q.shape;
  const part = Math.max(1, Math.floor(most / (images * heads * tokens)));
  if (part >= tokens) return attention(q, k, v, null);
  const starts = Array.from({ length: Math.ceil(tokens / part) }, (_, i) => i * part);
  return tf.concat(
    starts.map((start) =>
      tf.tidy(() => attention(tf.slice(q, [0, 0, start, 0], [-1, -1, Math.min(part, tokens - start), -1]), k, v, null)),
    ),
    2,
  );
}

/**
 * One layer: x [images * tokens, width], every token sees all tokens of its image. `w` and `beyond` take names below the
 * layer.
 */
export function encoderLayer(
  x: tf.Tensor2D,
  images: number,
  tokens: number,
  c: EncoderConfig,
  w: Weights,
  beyond?: Beyond,
): tf.Tensor2D {
  const heads = (t: tf.Tensor2D) =>
    tf.transpose(tf.reshape(t, [images, tokens, c.heads, c.width / c.heads]), [0, 2, 1, 3]) as tf.Tensor4D;
  const h = namedNorm(x, 'layer_norm1', w, c.eps);
  const [q, k, v] = ATTENTION.slice(0, 3).map((part) => heads(namedLinear(h, `self_attn.${part}`, w, beyond)));
  const mixed = tf.reshape(tf.transpose(pictureAttention(q!, k!, v!), [0, 2, 1, 3]), [images * tokens, c.width]);
  const y = tf.add(x, namedLinear(mixed as tf.Tensor2D, 'self_attn.out_proj', w, beyond)) as tf.Tensor2D;
  const inner = namedLinear(namedNorm(y, 'layer_norm2', w, c.eps), 'mlp.fc1', w, beyond);
  return tf.add(y, namedLinear(ACTIVATIONS[c.activation]!(inner), 'mlp.fc2', w, beyond)) as tf.Tensor2D;
}

/**
 * Pictures as rows of patches, row by row, ready for a matrix product: equal patches need no convolution. What is left at
 * the right and the bottom is dropped.
 * @param pixels [n, 3, height, width]
 * @returns [n * patches, 3 * patch * patch], channel first, as a convolution's kernel reshaped to [out, …] wants it
 */
export function patches(pixels: tf.Tensor4D, patch: number): tf.Tensor2D {
  const [images, , height, width] = pixels.shape;
  const [rows, columns] = [Math.floor(height / patch), Math.floor(width / patch)];
  const whole = tf.slice(pixels, [0, 0, 0, 0], [images, 3, rows * patch, columns * patch]);
  const cut = tf.transpose(tf.reshape(whole, [images, 3, rows, patch, columns, patch]), [0, 2, 4, 1, 3, 5]);
  return tf.reshape(cut, [images * rows * columns, 3 * patch * patch]) as tf.Tensor2D;
}
