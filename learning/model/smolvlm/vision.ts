import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../../core/errors.ts';
import { linear } from '../../tensors/ops.ts';
import {
  type EncoderConfig,
  encoderLayer,
  encoderShapes,
  linearShapes,
  namedNorm,
  normShapes,
  patches,
} from '../encoder.ts';
import { type Beyond, beyondBelow } from '../model.ts';
import type { Weights } from '../weights.ts';

/** A SigLIP vision transformer (Zhai et al. 2023) with the positions of NaViT, as Idefics3 uses it. */
export interface VisionConfig extends EncoderConfig {
  /** Side of the picture that the table of positions is made for. */
  readonly imageSize: number;
  readonly patchSize: number;
}

const TOWER = 'model.vision_model';

/** Every tensor of the tower with its shape. */
export function visionShapes(c: VisionConfig): [string, number[]][] {
  const [kernel, bias] = linearShapes(`${TOWER}.embeddings.patch_embedding`, c.width, 0);
  return [
    [kernel![0], [c.width, 3, c.patchSize, c.patchSize]],
    bias!,
    [`${TOWER}.embeddings.position_embedding.weight`, [Math.floor(c.imageSize / c.patchSize) ** 2, c.width]],
    ...encoderShapes(`${TOWER}.encoder.layers`, c),
    ...normShapes(`${TOWER}.post_layernorm`, c.width),
  ];
}

/**
 * The tower's output after its last norm. Pictures of nothing but zeros are padding and left out, as in transformers.
 * @param pixels normalised square tiles, [tiles, 3, side, side]
 * @returns [real tiles, patches, width]
 */
export function visionFeatures(pixels: tf.Tensor4D, c: VisionConfig, weights: Weights, beyond?: Beyond): tf.Tensor3D {
  const w = (name: string) => weights(`${TOWER}.${name}`);
  const real = withoutPadding(pixels);
  const [tiles, channels, height, width] = real.shape;
  const perSide = Math.floor(height / c.patchSize);
  if (channels !== 3 || height !== width || perSide === 0) {
    const problem = `Pixels [${pixels.shape}], but the model takes square tiles [n,3,side,side]`;
    throw new LiloraError('BadConfig', `${problem}. Use the image processor of this model.`);
  }
  const tokens = perSide ** 2;
  const kernel = tf.reshape(w('embeddings.patch_embedding.weight'), [c.width, 3 * c.patchSize ** 2]);
  const seen = linear(patches(real, c.patchSize), kernel, w('embeddings.patch_embedding.bias'));
  const at = tf.tensor1d(positionIds(perSide, Math.floor(c.imageSize / c.patchSize)), 'int32');
  const places = tf.gather(w('embeddings.position_embedding.weight'), at);
  let x = tf.reshape(tf.add(tf.reshape(seen, [tiles, tokens, c.width]), places), [-1, c.width]) as tf.Tensor2D;
  for (let i = 0; i < c.layers; i++)
    x = tf.tidy(() =>
      encoderLayer(
        x,
        tiles,
        tokens,
        c,
        (n) => w(`encoder.layers.${i}.${n}`),
        beyondBelow(`${TOWER}.encoder.layers.${i}`, beyond),
      ),
    );
  return tf.reshape(namedNorm(x, 'post_layernorm', w, c.eps), [tiles, tokens, c.width]) as tf.Tensor3D;
}

function withoutPadding(pixels: tf.Tensor4D): tf.Tensor4D {
  const seen = tf.any(tf.notEqual(pixels, 0), [1, 2, 3]).dataSync();
  const real = [...seen.keys()].filter((i) => seen[i]);
  if (real.length === seen.length) return pixels;
  if (real.length === 0) throw new LiloraError('BadConfig', 'Every picture is all zeros. Leave padding pictures out.');
  return tf.gather(pixels, tf.tensor1d(real, 'int32'));
}

/** How PyTorch fills `arange` on a CPU: blocks of eight from a rounded start, two at a time, then one by one. */
const BLOCK = 8;

/**
 * The row of the position table for every patch: its place as a share of the side, sorted into as many buckets as the
 * table has rows, `side` of them. Rounded to float32 where PyTorch rounds, because for some sides (19, 25, 29, 31, 38, …)
 * a share falls just below its bucket, and weights were trained with that.
 */
export function positionIds(perSide: number, side: number): Int32Array {
  const step = 1 / side;
  const count = Math.ceil((1 - step) / step);
  const inBlocks = count - (count % (2 * BLOCK));
  const boundaries = Array.from({ length: count }, (_, i) => {
    if (i >= inBlocks) return Math.fround(step + step * i);
    return Math.fround(Math.fround(step + step * (i - (i % BLOCK))) + (i % BLOCK) * step);
  });
  const share = Math.fround(1 / perSide);
  const buckets = Array.from({ length: perSide }, (_, i) => {
    const at = Math.min(Math.fround(i * share), Math.fround(1 - 1e-6));
    return boundaries.filter((boundary) => boundary <= at).length;
  });
  return Int32Array.from({ length: perSide ** 2 }, (_, i) => {
    return buckets[Math.floor(i / perSide)]! * side + buckets[i % perSide]!;
  });
}
