import * as tf from '@tensorflow/tfjs';
import type { HostTensor, TensorMap } from '../../core/host-tensor.ts';
import type { Active, Trainable } from './method.ts';

/** weight · mean over the adapted layers of a term; zero where no layer has one. */
export function meanPenalty(active: Active, weight: number, term: (layer: string) => tf.Tensor | null): tf.Scalar {
  const terms = weight > 0 ? active.layers.flatMap(({ name }) => term(name) ?? []) : [];
  if (terms.length === 0) return tf.scalar(0);
  return tf.mul(tf.addN(terms), weight / active.layers.length) as tf.Scalar;
}

/** Where trained shared tensors were when the task began, as constants that `moved` reads. */
export function startsOf(tensors: Trainable['tensors']): TensorMap {
  const shared = [...tensors].filter(([, { place, trained }]) => place === 'shared' && trained);
  return new Map(shared.map(([key, { start }]): [string, HostTensor] => [`${key}_start`, start]));
}

/** Σ ‖T − T_start‖²_F over tensors of one layer; null where none has a start. */
export function moved(active: Active, layer: string, names: readonly string[]): tf.Tensor | null {
  const terms = names.flatMap((name) => {
    const start = active.constant(layer, `${name}_start`);
    return start ? [tf.sum(tf.square(tf.sub(active.get(layer, name), start)))] : [];
  });
  return terms.length > 0 ? tf.addN(terms) : null;
}
