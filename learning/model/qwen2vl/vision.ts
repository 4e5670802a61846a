import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../../core/errors.ts';
import { ACTIVATIONS } from '../../tensors/activations.ts';
import { linear, rotary } from '../../tensors/ops.ts';
import { linearShapes, namedLinear, namedNorm, normShapes, patches, pictureAttention } from '../encoder.ts';
import { type Beyond, beyondBelow } from '../model.ts';
import { frequencies } from '../rope.ts';
import type { Weights } from '../weights.ts';

/** The vision transformer of Qwen2-VL (Wang et al. 2024): pictures of any size, rotary positions in height and width. */
export interface VisionConfig {
  readonly width: number;
  /** Width between the two layers of an MLP. */
  readonly inner: number;
  readonly layers: number;
  readonly heads: number;
  readonly patchSize: number;
  /** Frames that one patch spans; a picture is as many equal frames. */
  readonly frames: number;
  /** Squares of `merge` × `merge` patches become one image token. */
  readonly merge: number;
  readonly activation: string;
  readonly theta: number;
}

export const TOWER = 'model.visual';
/** Of every norm of the tower and the merger. */
export const EPS = 1e-6;

/** Every tensor of the tower with its shape. */
export function visionShapes(c: VisionConfig): [string, number[]][] {
  const block = (i: number): [string, number[]][] => [
    ...normShapes(`${TOWER}.blocks.${i}.norm1`, c.width),
    ...linearShapes(`${TOWER}.blocks.${i}.attn.qkv`, 3 * c.width, c.width),
    ...linearShapes(`${TOWER}.blocks.${i}.attn.proj`, c.width, c.width),
    ...normShapes(`${TOWER}.blocks.${i}.norm2`, c.width),
    ...linearShapes(`${TOWER}.blocks.${i}.mlp.fc1`, c.inner, c.width),
    ...linearShapes(`${TOWER}.blocks.${i}.mlp.fc2`, c.width, c.inner),
  ];
  return [
    [`${TOWER}.patch_embed.proj.weight`, [c.width, 3, c.frames, c.patchSize, c.patchSize]],
    ...Array.from({ length: c.layers }, (_, i) => block(i)).flat(),
  ];
}

/**
 * The last block's output, the patches of one image token side by side.
 * @param pixels normalised, [images, 3, height, width], whole squares of merged patches
 * @returns [images * image tokens, merge², width]
 */
export function visionFeatures(pixels: tf.Tensor4D, c: VisionConfig, weights: Weights, beyond?: Beyond): tf.Tensor3D {
  const w = (name: string) => weights(`${TOWER}.${name}`);
  const [images, channels, height, width] = pixels.shape;
  const square = c.patchSize * c.merge;
  if (channels !== 3 || height % square !== 0 || width % square !== 0 || height * width === 0) {
    const problem = `Pixels [${pixels.shape}], but the model takes [n,3,height,width] in squares of ${square} pixels`;
    throw new LiloraError('BadConfig', `${problem}. Use the image processor of this model.`);
  }
  const [rows, columns] = [height / c.patchSize, width / c.patchSize];
  const tokens = rows * columns;
  // Equal frames: their kernels add up.
  const kernel = tf.reshape(tf.sum(w('patch_embed.proj.weight'), 2), [c.width, 3 * c.patchSize ** 2]);
  const cut = tf.reshape(patches(pixels, c.patchSize), [
    (images * rows) / c.merge,
    c.merge,
    columns / c.merge,
    c.merge,
    3 * c.patchSize ** 2,
  ]);
  const merged = tf.reshape(tf.transpose(cut, [0, 2, 1, 3, 4]), [images * tokens, 3 * c.patchSize ** 2]);
  const turns = axialTurns(rows, columns, c);
  let x = linear(merged as tf.Tensor2D, kernel);
  for (let i = 0; i < c.layers; i++)
    x = tf.tidy(() =>
      block(x, images, tokens, c, turns, (n) => w(`blocks.${i}.${n}`), beyondBelow(`${TOWER}.blocks.${i}`, beyond)),
    );
  return tf.reshape(x, [(images * tokens) / c.merge ** 2, c.merge ** 2, c.width]) as tf.Tensor3D;
}

interface Turns {
  /** [1, 1, tokens, size of a head] */
  readonly cos: tf.Tensor;
  /** The same, negative in the first half of a head. */
  readonly sin: tf.Tensor;
}

/** Half of the pairs of a head turn by height, half by width, in the order of merged patches. */
function axialTurns(rows: number, columns: number, c: VisionConfig): Turns {
  const half = c.width / c.heads / 2;
  const perStep = frequencies({ kind: 'default', theta: c.theta }, half);
  const cos = new Float32Array(rows * columns * 2 * half);
  const sin = new Float32Array(cos.length);
  for (let token = 0; token < rows * columns; token++) {
    const [square, inside] = [Math.floor(token / c.merge ** 2), token % c.merge ** 2];
    const perRow = columns / c.merge;
    const row = Math.floor(square / perRow) * c.merge + Math.floor(inside / c.merge);
    const column = (square % perRow) * c.merge + (inside % c.merge);
    for (let i = 0; i < half; i++) {
      const angle = Math.fround((i < half / 2 ? row : column) * perStep[i % (half / 2)]!);
      const at = token * 2 * half + i;
      cos[at] = cos[at + half] = Math.cos(angle);
      sin[at + half] = Math.sin(angle);
      sin[at] = -sin[at + half]!;
    }
  }
  const shape = [1, 1, rows * columns, 2 * half];
  return { cos: tf.tensor(cos, shape), sin: tf.tensor(sin, shape) };
}

/** One block: x [images * tokens, width], every patch sees all patches of its image. `w` and `beyond` take names below the block. */
function block(
  x: tf.Tensor2D,
  images: number,
  tokens: number,
  c: VisionConfig,
  turns: Turns,
  w: Weights,
  beyond?: Beyond,
): tf.Tensor2D {
  const parts = tf.split(namedLinear(namedNorm(x, 'norm1', w, EPS), 'attn.qkv', w, beyond), 3, 1);
  const [q, k, v] = parts.map((part) =>
    tf.transpose(tf.reshape(part, [images, tokens, c.heads, c.width / c.heads]), [0, 2, 1, 3]),
  ) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
  const seen = pictureAttention(rotary(q, turns.cos, turns.sin), rotary(k, turns.cos, turns.sin), v);
  const mixed = tf.reshape(tf.transpose(seen, [0, 2, 1, 3]), [images * tokens, c.width]) as tf.Tensor2D;
  const y = tf.add(x, namedLinear(mixed, 'attn.proj', w, beyond)) as tf.Tensor2D;
  const inner = ACTIVATIONS[c.activation]!(namedLinear(namedNorm(y, 'norm2', w, EPS), 'mlp.fc1', w, beyond));
  return tf.add(y, namedLinear(inner, 'mlp.fc2', w, beyond)) as tf.Tensor2D;
}
