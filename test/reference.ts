import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { expect } from 'vitest';
import { sizeOf } from '../core/host-tensor.ts';
import { type RawTensor, readSafetensors, readTensorMap } from '../core/safetensors.ts';
import type { Adapt, AdaptedLayer, BaseModel, TokenBatch } from '../learning/model/model.ts';

/** Numbers that PyTorch computed from a tiny model: see test/fixtures/README.md. */
export interface Reference {
  readonly folder: string;
  // biome-ignore lint/suspicious/noExplicitAny: a file of the tests' own.
  readonly json: any;
  readonly expected: Map<string, RawTensor>;
  batch(name: string): TokenBatch;
  /**
   * All pictures of a case, those of one size together, [pictures, 3, height, width]: SmolVLM's tiles with the padding
   * of other rows, Qwen2-VL's images one by one. None in a case without images.
   */
  pixels(name: string): tf.Tensor4D[];
  /** Features of all pictures of a case; null in a case without images. */
  features(name: string, model: BaseModel): tf.Tensor3D | null;
  tensors(path: string): ReturnType<typeof readTensorMap>;
  /** Expected floating-point numbers. */
  numbers(key: string): Float32Array;
}

export const REFERENCE_MODELS = ['llava-mha', 'llava-gqa', 'smolvlm', 'qwen2vl'] as const;

/** Fields of Qwen2-VL's vision configuration. */
interface Vision {
  readonly patch_size: number;
  readonly temporal_patch_size?: number;
  readonly spatial_merge_size?: number;
}

/** Puts Qwen2-VL's patches, [patches, channel · frame · row · column], back where its processor cut them: one tensor per image. */
export function wholePictures(patches: Float32Array, grids: Int32Array, vision: Vision): tf.Tensor4D[] {
  const { patch_size: p, temporal_patch_size: frames = 2, spatial_merge_size: m = 2 } = vision;
  let patch = 0;
  return Array.from({ length: grids.length / 3 }, (_, image) => {
    const [, rows, columns] = grids.subarray(3 * image, 3 * image + 3) as unknown as [number, number, number];
    const [height, width] = [rows * p, columns * p];
    const whole = new Float32Array(3 * height * width);
    for (let top = 0; top < rows; top += m)
      for (let left = 0; left < columns; left += m)
        for (let inside = 0; inside < m * m; inside++, patch++)
          for (let channel = 0; channel < 3; channel++)
            for (let cell = 0; cell < p * p; cell++) {
              const from = patch * 3 * frames * p * p + channel * frames * p * p + cell;
              if (patches[from] !== patches[from + p * p]) throw new Error('frames of a picture differ');
              const y = (top + Math.floor(inside / m)) * p + Math.floor(cell / p);
              const x = (left + (inside % m)) * p + (cell % p);
              whole[(channel * height + y) * width + x] = patches[from]!;
            }
    return tf.tensor4d(whole, [1, 3, height, width]);
  });
}

export function reference(name: string): Reference {
  const folder = fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
  const read = (file: string) => readSafetensors(readFileSync(`${folder}/${file}`), file).tensors;
  const inputs = read('inputs.safetensors');
  const expected = read('expected.safetensors');
  const vision = JSON.parse(readFileSync(`${folder}/model/config.json`, 'utf8')).vision_config as Vision;
  const pixels = (at: string) => {
    const found = inputs.get(`${at}/pixel_values`);
    if (!found) return [];
    const grids = inputs.get(`${at}/image_grid_thw`);
    if (grids) return wholePictures(found.data as Float32Array, grids.data as Int32Array, vision);
    const shape = found.shape.slice(-3) as [number, number, number];
    return [tf.tensor4d(found.data as Float32Array, [found.data.length / sizeOf(shape), ...shape])];
  };
  return {
    folder,
    json: JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8')),
    expected,
    batch: (at) => {
      const ids = inputs.get(`${at}/input_ids`)!;
      const [rows, length] = ids.shape as [number, number];
      const attentionMask = inputs.get(`${at}/attention_mask`)!.data as Int32Array;
      const labels = inputs.get(`${at}/labels`)?.data as Int32Array | undefined;
      const thw = inputs.get(`${at}/image_grid_thw`)?.data as Int32Array | undefined;
      const merged = (cells: number) => cells / vision.spatial_merge_size!;
      const grids =
        thw &&
        Array.from({ length: thw.length / 3 }, (_, i) => [merged(thw[3 * i + 1]!), merged(thw[3 * i + 2]!)] as const);
      const optional = { ...(labels && { labels }), ...(grids && { grids }) };
      return { rows, length, inputIds: ids.data as Int32Array, attentionMask, ...optional };
    },
    pixels,
    features: (at, model) => {
      const pictures = pixels(at);
      if (pictures.length === 0) return null;
      const found = tf.tidy(() => tf.concat(pictures.map((picture) => model.encodeImages(picture))));
      tf.dispose(pictures);
      return found;
    },
    tensors: (path) => readTensorMap(readFileSync(`${folder}/${path}`), path),
    numbers: (key) => {
      const tensor = expected.get(key);
      if (!tensor) throw new Error(`${name}: no expected tensor ${key}`);
      return tensor.data as Float32Array;
    },
  };
}

/** How near is near, as the reference itself says: float32 moves less, a wrong detail moves more. */
export const NEAR = { features: 1e-4, logits: 2e-4, loss: 5e-5, gradient: 1e-4, adapter: 1e-4 } as const;

/** Every number within `tolerance`, times the largest expected one where `relative`. */
export function expectNear(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what: string,
  relative = false,
): void {
  expect(actual.length, what).toBe(expected.length);
  const numbers = Array.from(expected);
  const limit = relative ? tolerance * Math.max(...numbers.map(Math.abs)) : tolerance;
  const worst = numbers.reduce(
    (most, x, i) => Math.max(most, Number.isNaN(actual[i]!) ? Infinity : Math.abs(actual[i]! - x)),
    0,
  );
  if (!(worst <= limit)) expect.fail(`${what}: off by ${worst}, more than ${limit}`);
}

/** Logits at the last real token of every row. */
export function lastTokens(batch: TokenBatch): Int32Array {
  return Int32Array.from({ length: batch.rows }, (_, row) => {
    let last = -1;
    for (let at = row * batch.length; at < (row + 1) * batch.length; at++) if (batch.attentionMask[at]) last = at;
    return last;
  });
}

/** The features of the images of one row of a batch. */
export function rowFeatures(features: tf.Tensor3D, batch: TokenBatch, row: number, imageToken: number): tf.Tensor3D {
  const counts = Array.from({ length: batch.rows }, (_, at) =>
    batch.inputIds
      .subarray(at * batch.length, (at + 1) * batch.length)
      .reduce((n, id) => n + Number(id === imageToken), 0),
  );
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  const perToken = features.shape[0] / sum(counts);
  return tf.slice(features, [sum(counts.slice(0, row)) * perToken, 0, 0], [counts[row]! * perToken, -1, -1]);
}

/** One adapter under test: what it computes from named tensors `<module path>.<tensor>`, and its regulariser. */
export interface Candidate {
  adapt(tensor: (name: string) => tf.Tensor): Adapt;
  penalty?(tensor: (name: string) => tf.Tensor, layers: readonly AdaptedLayer[]): tf.Scalar;
}

/**
 * AdamW (Loshchilov & Hutter 2019) in float64 on the host, as the reference ran it: lr 1e-3, betas 0.9 / 0.999,
 * eps 1e-8, decay 0.01 on everything.
 */
export class ReferenceAdamW {
  private readonly moments = new Map<string, { m: Float64Array; v: Float64Array }>();
  private step = 0;

  apply(variables: Map<string, tf.Variable>, gradients: Map<string, tf.Tensor>): void {
    this.step++;
    for (const [name, variable] of variables) {
      const p = variable.dataSync().slice();
      const g = gradients.get(name)!.dataSync();
      if (!this.moments.has(name)) {
        this.moments.set(name, { m: new Float64Array(p.length), v: new Float64Array(p.length) });
      }
      const { m, v } = this.moments.get(name)!;
      for (let i = 0; i < p.length; i++) {
        m[i] = 0.9 * m[i]! + 0.1 * g[i]!;
        v[i] = 0.999 * v[i]! + 0.001 * g[i]! ** 2;
        const update = m[i]! / (1 - 0.9 ** this.step) / (Math.sqrt(v[i]! / (1 - 0.999 ** this.step)) + 1e-8);
        p[i] = p[i]! * (1 - 1e-3 * 0.01) - 1e-3 * update;
      }
      tf.tidy(() => variable.assign(tf.tensor(p, variable.shape)));
    }
  }
}
