/** A tensor outside any engine: row-major float32 numbers with their shape. What banks, checkpoints and files hold. */
export interface HostTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Tensors by name; iteration order is the order of writing. */
export type TensorMap = Map<string, HostTensor>;

/** Number of elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}
