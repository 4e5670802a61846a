import * as tf from '@tensorflow/tfjs';
import { type NativeBackend, waitingFor } from './record.ts';

/** The 16-bit types, by their names in safetensors and their numbers in TensorFlow (framework/types.proto). */
const HALF_TYPES = { F16: 19, BF16: 14 } as const;

export type HalfType = keyof typeof HALF_TYPES;

/** What the halves of a matrix are, by its data in the engine: TensorFlow.js has no such types of its own. */
const types = new WeakMap<object, HalfType>();

/** Whether the engine can keep matrices of this shape in halves: two numbers share one of its integers. */
export const canBeHalf = (shape: readonly number[]): boolean =>
  tf.getBackend() === 'tensorflow' && shape.length === 2 && shape[1]! % 2 === 0;

/**
 * A matrix [out, in] that stays in 16 bits a number, as it is in its file: int32 [out, in / 2] in the engine. Frozen
 * weights only: it has no gradient of its own. `widened` gives its numbers, exactly.
 */
export function halfMatrix(bits: Uint16Array, [out, width]: readonly number[], type: HalfType): tf.Tensor2D {
  const pairs = new Int32Array(bits.buffer, bits.byteOffset, bits.length / 2);
  const half = tf.tensor2d(pairs, [out!, width! / 2], 'int32');
  types.set(half.dataId, type);
  return half;
}

export const isHalf = (x: tf.Tensor): boolean => types.has(x.dataId);

/**
 * The numbers of rows in halves as float32: half [n, in / 2] → [n, in].
 * @param like the matrix that the rows are of
 * @param after a tensor that comes first. A graph would widen all its matrices at once otherwise, and keep what the
 *   forward pass widened for the backward pass: together they need more memory than float32 weights
 */
export function widened(half: tf.Tensor2D, like: tf.Tensor, after: tf.Tensor): tf.Tensor2D {
  const backend = tf.backend() as unknown as NativeBackend;
  const { binding } = backend;
  const { TF_ATTR_TYPE: type, TF_ATTR_BOOL: flag } = binding;
  const [int32, float32] = [backend.getDTypeInteger('int32'), backend.getDTypeInteger('float32')];
  const own = HALF_TYPES[types.get(like.dataId)!];
  const wide = waitingFor(after, () => {
    const [id] = backend.getInputTensorIds([half]);
    const asHalves = [
      { name: 'T', type, value: int32 },
      { name: 'type', type, value: own },
    ];
    const [halves] = binding.executeOp('Bitcast', asHalves, [id!], 1);
    const asFloats = [
      { name: 'SrcT', type, value: own },
      { name: 'DstT', type, value: float32 },
      { name: 'Truncate', type: flag, value: false },
    ];
    const [floats] = binding.executeOp('Cast', asFloats, [halves!.id], 1);
    binding.deleteTensor(halves!.id);
    return backend.createOutputTensor(floats!);
  });
  return tf.reshape(wide, [half.shape[0], half.shape[1] * 2]);
}
