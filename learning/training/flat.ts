import * as tf from '@tensorflow/tfjs';
import { sizeOf, type TensorMap } from '../../core/host-tensor.ts';

/**
 * How named tensors lie side by side in one flat vector. The optimizer works on that vector: a dozen operations per
 * step in all, not a dozen per tensor.
 */
export class Flat {
  readonly size: number;
  private readonly entries: {
    readonly key: string;
    readonly shape: number[];
    readonly from: number;
    readonly to: number;
  }[] = [];

  constructor(tensors: Iterable<readonly [string, { readonly shape: readonly number[] }]>) {
    let from = 0;
    for (const [key, tensor] of tensors) {
      const to = from + sizeOf(tensor.shape);
      this.entries.push({ key, shape: [...tensor.shape], from, to });
      from = to;
    }
    this.size = from;
  }

  /** One vector [size] of the tensors; zeros where one is missing. */
  join(get: (key: string) => tf.Tensor | null | undefined): tf.Tensor1D {
    return tf.tidy(() => tf.concat1d(this.entries.map(({ key, from, to }) => part(get(key), to - from))));
  }

  /** The tensors of a vector [size], by name and in their own shapes. */
  split(vector: tf.Tensor1D): Map<string, tf.Tensor> {
    const parts = tf.tidy(() => {
      if (this.entries.length === 1) return [tf.reshape(vector, this.entries[0]!.shape)];
      const pieces = tf.split(
        vector,
        this.entries.map(({ from, to }) => to - from),
      );
      return pieces.map((piece, i) => tf.reshape(piece, this.entries[i]!.shape));
    });
    return new Map(parts.map((tensor, i) => [this.entries[i]!.key, tensor]));
  }

  /** The vector on the host, one number per element by a rule on names. */
  fill(value: (key: string) => number): Float32Array {
    const out = new Float32Array(this.size);
    for (const { key, from, to } of this.entries) out.fill(value(key), from, to);
    return out;
  }

  /** A copy of the vector as tensors on the host. */
  toHost(vector: tf.Tensor1D): TensorMap {
    const data = vector.dataSync() as Float32Array;
    return new Map(this.entries.map(({ key, shape, from, to }) => [key, { shape, data: data.slice(from, to) }]));
  }

  /** A vector from tensors on the host; null when a name or a shape does not fit. */
  fromHost(tensors: TensorMap): tf.Tensor1D | null {
    if (tensors.size !== this.entries.length) return null;
    const data = new Float32Array(this.size);
    for (const { key, shape, from, to } of this.entries) {
      const tensor = tensors.get(key);
      if (tensor?.data.length !== to - from || tensor.shape.join() !== shape.join()) return null;
      data.set(tensor.data, from);
    }
    return tf.tensor1d(data, 'float32');
  }
}

function part(tensor: tf.Tensor | null | undefined, size: number): tf.Tensor1D {
  return tensor ? (tf.reshape(tensor, [size]) as tf.Tensor1D) : tf.zeros([size]);
}
