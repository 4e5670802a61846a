import * as tf from '@tensorflow/tfjs';

/** An elementwise non-linearity. */
export type Activation = <T extends tf.Tensor>(x: T) => T;

/**
 * The activations by the names that `config.json` uses (transformers, `ACT2FN`). Each has its own gradient: fewer
 * operations and less memory than the recorded ones.
 */
export const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  /** x Φ(x), with the exact normal distribution. */
  gelu: elementwise((x) => {
    const phi = tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
    return { factor: phi, slope: () => tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI)) };
  }),
  /** The tanh approximation of gelu. */
  gelu_pytorch_tanh: elementwise(tanhGelu),
  gelu_new: elementwise(tanhGelu),
  /** x σ(1.702 x), as in CLIP. */
  quick_gelu: elementwise((x) => sigmoidFactor(x, 1.702)),
  /** x σ(x). */
  silu: elementwise((x) => sigmoidFactor(x, 1)),
  relu: (x) => tf.relu(x),
};

/** f(x) = x · factor(x); `slope` is the derivative of the factor. */
interface Factor {
  readonly factor: tf.Tensor;
  readonly slope: () => tf.Tensor;
}

function elementwise(parts: (x: tf.Tensor) => Factor): Activation {
  const op = tf.customGrad((input, save) => {
    const x = input as tf.Tensor;
    const { factor } = parts(x);
    (save as tf.GradSaveFunc)([x]);
    return {
      value: tf.mul(x, factor),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const { factor, slope } = parts(saved[0]!);
        return tf.mul(dy, tf.add(factor, tf.mul(saved[0]!, slope())));
      },
    };
  });
  return <T extends tf.Tensor>(x: T) => op(x) as T;
}

function sigmoidFactor(x: tf.Tensor, steepness: number): Factor {
  const factor = tf.sigmoid(steepness === 1 ? x : tf.mul(x, steepness));
  return { factor, slope: () => tf.mul(tf.mul(factor, tf.sub(1, factor)), steepness) };
}

function tanhGelu(x: tf.Tensor): Factor {
  const c = Math.sqrt(2 / Math.PI);
  const xx = tf.square(x);
  const t = tf.tanh(tf.mul(tf.mul(x, tf.add(tf.mul(xx, 0.044715), 1)), c));
  const slope = () => tf.mul(tf.mul(tf.sub(1, tf.square(t)), tf.add(tf.mul(xx, 3 * 0.044715), 1)), c / 2);
  return { factor: tf.mul(tf.add(t, 1), 0.5), slope };
}
