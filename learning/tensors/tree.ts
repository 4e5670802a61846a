import * as tf from '@tensorflow/tfjs';

/** Tensors in any arrangement of arrays and plain objects, with numbers, texts and nulls between them. */
export type Tree =
  | tf.Tensor
  | number
  | string
  | boolean
  | null
  | undefined
  | readonly Tree[]
  | { readonly [name: string]: Tree };

/** All tensors in a fixed order. */
export function tensorsOf(tree: Tree): tf.Tensor[] {
  if (tree instanceof tf.Tensor) return [tree];
  if (tree === null || typeof tree !== 'object') return [];
  return Object.values(tree as object).flatMap((part) => tensorsOf(part));
}

/** Same text: same shapes, types and numbers in the same places. */
export function signature(tree: Tree): string {
  if (tree instanceof tf.Tensor) return `${tree.dtype}[${tree.shape}]`;
  if (tree === null || typeof tree !== 'object') return JSON.stringify(tree) ?? 'undefined';
  return `{${Object.entries(tree as object).map(([name, part]) => `${name}:${signature(part)}`)}}`;
}

/** `tf.tidy` for trees: the tensors of the result stay, all others go. */
export function tidied<T extends Tree>(compute: () => T): T {
  return tf.tidy(compute as () => tf.TensorContainer) as unknown as T;
}
