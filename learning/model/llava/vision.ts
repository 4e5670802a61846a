import * as tf from '@tensorflow/tfjs';
import { linear } from '../../tensors/ops.ts';
import { type EncoderConfig, encoderLayer, encoderShapes, namedNorm, normShapes, patches } from '../encoder.ts';
import { type Beyond, beyondBelow } from '../model.ts';
import type { Weights } from '../weights.ts';

/** A CLIP vision transformer (Radford et al. 2021), as far as its features are used. */
export interface VisionConfig extends EncoderConfig {
  readonly imageSize: number;
  readonly patchSize: number;
  /** How many layers run before the features are taken: `layers` − 1 for feature layer −2. */
  readonly featureLayers: number;
  /** Whether the features begin with the class token. */
  readonly classToken: boolean;
}

const TOWER = 'model.vision_tower';

/** Every tensor of the tower with its shape, also those of layers that do not run: files hold them. */
export function visionShapes(c: VisionConfig): [string, number[]][] {
  const count = (c.imageSize / c.patchSize) ** 2;
  return [
    [`${TOWER}.embeddings.class_embedding`, [c.width]],
    [`${TOWER}.embeddings.patch_embedding.weight`, [c.width, 3, c.patchSize, c.patchSize]],
    [`${TOWER}.embeddings.position_embedding.weight`, [count + 1, c.width]],
    ...normShapes(`${TOWER}.pre_layrnorm`, c.width),
    ...encoderShapes(`${TOWER}.encoder.layers`, c),
    ...normShapes(`${TOWER}.post_layernorm`, c.width),
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
export function visionFeatures(pixels: tf.Tensor4D, c: VisionConfig, weights: Weights, beyond?: Beyond): tf.Tensor3D {
  const w = (name: string) => weights(`${TOWER}.${name}`);
  const [images] = pixels.shape;
  const tokens = (c.imageSize / c.patchSize) ** 2 + 1;
  let x = namedNorm(embed(pixels, c, w), 'pre_layrnorm', w, c.eps);
  for (let i = 0; i < c.featureLayers; i++)
    x = tf.tidy(() =>
      encoderLayer(
        x,
        images,
        tokens,
        c,
        (n) => w(`encoder.layers.${i}.${n}`),
        beyondBelow(`${TOWER}.encoder.layers.${i}`, beyond),
      ),
    );
  const states = tf.reshape(x, [images, tokens, c.width]) as tf.Tensor3D;
  return c.classToken ? states : tf.slice(states, [0, 1, 0], [images, tokens - 1, c.width]);
}

/** Class token and patches plus positions, [images * tokens, width]. */
function embed(pixels: tf.Tensor4D, c: VisionConfig, w: Weights): tf.Tensor2D {
  const [images] = pixels.shape;
  const count = (c.imageSize / c.patchSize) ** 2;
  const kernel = tf.reshape(w('embeddings.patch_embedding.weight'), [c.width, 3 * c.patchSize ** 2]);
  const seen = tf.reshape(linear(patches(pixels, c.patchSize), kernel), [images, count, c.width]);
  const first = tf.tile(tf.reshape(w('embeddings.class_embedding'), [1, 1, c.width]), [images, 1, 1]);
  const all = tf.concat([first, seen], 1);
  return tf.reshape(tf.add(all, w('embeddings.position_embedding.weight')), [-1, c.width]) as tf.Tensor2D;
}
