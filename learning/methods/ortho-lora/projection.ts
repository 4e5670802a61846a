import * as tf from '@tensorflow/tfjs';

/** Keeps a quotient by a zero gradient a number. */
const TINY = 1e-12;

type Gradients = ReadonlyMap<string, tf.Tensor>;

/**
 * The sum of gradients after each was freed of what conflicts with another one: where ⟨g_i, g_j⟩ < 0, the part of g_i
 * along g_j is taken away. The others are visited in the order given and as they were before any change (PCGrad, arXiv
 * 2001.06782). A pure function with a fixed flow of control.
 * @param granularity `matrix`: every tensor by itself; `global`: all tensors as one vector
 */
export function withoutConflicts(
  gradients: readonly Gradients[],
  granularity: 'matrix' | 'global',
): Map<string, tf.Tensor> {
  const keys = [...gradients[0]!.keys()];
  const units = granularity === 'matrix' ? keys.map((key) => [key]) : [keys];
  const tensors = units.flatMap((unit) => projected(gradients, unit));
  return new Map(keys.map((key, k) => [key, tensors[k]!]));
}

/** The tensors of one unit, which are projected as one vector. */
function projected(gradients: readonly Gradients[], unit: readonly string[]): tf.Tensor[] {
  const vectors = gradients.map((gradient) => unit.map((key) => gradient.get(key)!));
  const squares = vectors.map((vector) => tf.add(inner(vector, vector), TINY));
  const freed = vectors.map((vector, i) =>
    vectors.reduce((own, other, j) => {
      if (i === j) return own;
      const along = tf.div(tf.minimum(inner(own, other), 0), squares[j]!);
      return own.map((tensor, k) => tf.sub(tensor, tf.mul(other[k]!, along)));
    }, vector),
  );
  return unit.map((_, k) => freed.map((vector) => vector[k]!).reduce((a, b) => tf.add(a, b)));
}

const inner = (a: readonly tf.Tensor[], b: readonly tf.Tensor[]): tf.Tensor =>
  a.map((tensor, k) => tf.sum(tf.mul(tensor, b[k]!))).reduce((x, y) => tf.add(x, y));
