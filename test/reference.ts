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
  /** [pictures, 3, height, width], SmolVLM's tiles with the padding of other rows; null in a case without images. */
  pixels(name: string): tf.Tensor4D | null;
  /** Features of all pictures of a case; null in a case without images. */
  features(name: string, model: BaseModel): tf.Tensor3D | null;
  tensors(path: string): ReturnType<typeof readTensorMap>;
  /** Expected floating-point numbers. */
  numbers(key: string): Float32Array;
}

export const REFERENCE_MODELS = ['llava-mha', 'llava-gqa', 'smolvlm'] as const;

export function reference(name: string): Reference {
  const folder = fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
  const read = (file: string) => readSafetensors(readFileSync(`${folder}/${file}`), file).tensors;
  const inputs = read('inputs.safetensors');
  const expected = read('expected.safetensors');
  const pixels = (at: string) => {
    const found = inputs.get(`${at}/pixel_values`);
    if (!found) return null;
    const shape = found.shape.slice(-3) as [number, number, number];
    return tf.tensor4d(found.data as Float32Array, [found.data.length / sizeOf(shape), ...shape]);
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
      return { rows, length, inputIds: ids.data as Int32Array, attentionMask, ...(labels && { labels }) };
    },
    pixels,
    features: (at, model) => {
      const seen = pixels(at);
      const found = seen && model.encodeImages(seen);
      seen?.dispose();
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
