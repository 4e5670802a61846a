import * as tf from '@tensorflow/tfjs';
import { ACTIVATIONS } from '../../tensors/activations.ts';
import { attention, layerNorm, linear } from '../../tensors/ops.ts';
import type { Weights } from '../weights.ts';

/** A CLIP vision transformer (Radford et al. 2021), as far as its features are used. */
export interface VisionConfig {
  readonly width: number;
  /** Width between the two layers of an MLP. */
  readonly inner: number;
  readonly layers: number;
  readonly heads: number;
  readonly imageSize: number;
  readonly patchSize: number;
  readonly activation: string;
  readonly eps: number;
  /** How many layers run before the features are taken: `layers` − 1 for feature layer −2. */
  readonly featureLayers: number;
  /** Whether the features begin with the class token. */
  readonly classToken: boolean;
}

const TOWER = 'model.vision_tower';
const ATTENTION = ['q_proj', 'k_proj', 'v_proj', 'out_proj'];

/** Every tensor of the tower with its shape, also those of layers that do not run: files hold them. */
export function visionShapes(c: VisionConfig): [string, number[]][] {
  const patches = (c.imageSize / c.patchSize) ** 2;
  const norm = (name: string): [string, number[]][] => [
    [`${TOWER}.${name}.weight`, [c.width]],
    [`${TOWER}.${name}.bias`, [c.width]],
  ];
  const dense = (name: string, out: number, input: number): [string, number[]][] => [
    [`${TOWER}.${name}.weight`, [out, input]],
    [`${TOWER}.${name}.bias`, [out]],
  ];
  const layer = (i: number): [string, number[]][] => [
    ...norm(`encoder.layers.${i}.layer_norm1`),
    ...ATTENTION.flatMap((part) => dense(`encoder.layers.${i}.self_attn.${part}`, c.width, c.width)),
    ...norm(`encoder.layers.${i}.layer_norm2`),
    ...dense(`encoder.layers.${i}.mlp.fc1`, c.inner, c.width),
    ...dense(`encoder.layers.${i}.mlp.fc2`, c.width, c.inner),
  ];
  return [
    [`${TOWER}.embeddings.class_embedding`, [c.width]],
    [`${TOWER}.embeddings.patch_embedding.weight`, [c.width, 3, c.patchSize, c.patchSize]],
    [`${TOWER}.embeddings.position_embedding.weight`, [patches + 1, c.width]],
    ...norm('pre_layrnorm'),
    ...Array.from({ length: c.layers }, (_, i) => layer(i)).flat(),
    ...norm('post_layernorm'),
  ];
}

/** True for a tensor of the tower that takes no part in the features: later layers and the last norm. */
export function visionUnused(name: string, c: VisionConfig): boolean {
  const layer = /^model\.vision_tower\.encoder\.layers\.(\d+)\./.exec(name);
  return name.startsWith(`${TOWER}.post_layernorm.`) || (layer !== null && Number(layer[1]) >= c.featureLayers);
}

/**
 * The hidden state that feeds the projector.
 * @param pixels normalised, [images, 3, size, size]
 * @returns [images, tokens, width]
 */
export function visionFeatures(pixels: tf.Tensor4D, c: VisionConfig, weights: Weights): tf.Tensor3D {
  const w = (name: string) => weights(`${TOWER}.${name}`);
  const [images] = pixels.shape;
  const tokens = (c.imageSize / c.patchSize) ** 2 + 1;
  let x = layerNorm(embed(pixels, c, w), w('pre_layrnorm.weight'), w('pre_layrnorm.bias'), c.eps);
  for (let i = 0; i < c.featureLayers; i++)
    x = encoderLayer(x, images, tokens, c, (n) => w(`encoder.layers.${i}.${n}`));
  const states = tf.reshape(x, [images, tokens, c.width]) as tf.Tensor3D;
  return c.classToken ? states : tf.slice(states, [0, 1, 0], [images, tokens - 1, c.width]);
}

/** Class token and patches plus positions, [images * tokens, width]. Equal patches as a matrix product: no convolution. */
function embed(pixels: tf.Tensor4D, c: VisionConfig, w: Weights): tf.Tensor2D {
  const [images] = pixels.shape;
  const p = c.patchSize;
  const side = c.imageSize / p;
  const kernel = tf.reshape(w('embeddings.patch_embedding.weight'), [c.width, 3 * p * p]);
  const cut = tf.transpose(tf.reshape(pixels, [images, 3, side, p, side, p]), [0, 2, 4, 1, 3, 5]);
  const patches = linear(tf.reshape(cut, [images * side * side, 3 * p * p]), kernel);
  const first = tf.tile(tf.reshape(w('embeddings.class_embedding'), [1, 1, c.width]), [images, 1, 1]);
  const all = tf.concat([first, tf.reshape(patches, [images, side * side, c.width])], 1);
  return tf.reshape(tf.add(all, w('embeddings.position_embedding.weight')), [-1, c.width]) as tf.Tensor2D;
}

function encoderLayer(x: tf.Tensor2D, images: number, tokens: number, c: VisionConfig, w: Weights): tf.Tensor2D {
  const dense = (name: string, input: tf.Tensor2D) => linear(input, w(`${name}.weight`), w(`${name}.bias`));
  const heads = (t: tf.Tensor2D) =>
    tf.transpose(tf.reshape(t, [images, tokens, c.heads, c.width / c.heads]), [0, 2, 1, 3]) as tf.Tensor4D;
  const h = layerNorm(x, w('layer_norm1.weight'), w('layer_norm1.bias'), c.eps);
  const [q, k, v] = ATTENTION.slice(0, 3).map((part) => heads(dense(`self_attn.${part}`, h)));
  const mixed = tf.reshape(tf.transpose(attention(q!, k!, v!, null), [0, 2, 1, 3]), [images * tokens, c.width]);
  const y = tf.add(x, dense('self_attn.out_proj', mixed as tf.Tensor2D)) as tf.Tensor2D;
  const inner = dense('mlp.fc1', layerNorm(y, w('layer_norm2.weight'), w('layer_norm2.bias'), c.eps));
  return tf.add(y, dense('mlp.fc2', ACTIVATIONS[c.activation]!(inner))) as tf.Tensor2D;
}
