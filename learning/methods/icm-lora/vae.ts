import * as tf from '@tensorflow/tfjs';
import type { TensorMap } from '../../../core/host-tensor.ts';
import { Compiled } from '../../tensors/compile.ts';
import {
  add,
  cholesky,
  gram,
  identity,
  inner,
  type Matrix,
  matrix,
  multiply,
  scale,
  solveTransposed,
  toHost,
  trace,
} from '../../tensors/linalg.ts';
import { tensorsOf } from '../../tensors/tree.ts';
import { AdamW, type Moments, type Rates } from '../../training/adamw.ts';
import type { Random } from '../../training/random.ts';
import { Sampler } from '../../training/sampler.ts';
import { cosineWithWarmup } from '../../training/schedule.ts';
import { decoderShapes, innermost, paddedLength, type Shape } from './decoder.ts';

/** One adapter to learn: its numbers, normalised, and what its task is told by. */
export interface Item {
  readonly weights: Float32Array;
  readonly condition: Float32Array;
}

export interface Fit {
  readonly steps: number;
  readonly batchSize: number;
  readonly learningRate: number;
  /** Weight of the Kullback-Leibler term. */
  readonly divergence: number;
}

/** Of the leaky ReLU below zero. */
const SLOPE = 0.01;
/** Share of the steps over which the learning rate rises, as in the authors' code. */
const WARMUP = 0.1;
/** Share of the variance of conditions that is added in every direction. */
const RIDGE = 1e-3;
/** Inputs of a layer up to which its weights move at the full rate. */
const INPUTS = 64;
/** Times the rate at which the decoder's first bias moves, which stands for what all tasks share. */
const SHARED = 16;

type StepInputs = {
  readonly x: tf.Tensor2D;
  readonly condition: tf.Tensor2D;
  readonly noise: tf.Tensor2D;
  readonly moments: Moments;
  readonly rates: Rates;
};

/** Names and shapes of the encoder: convolutions as [kernel, from, to], each with a norm over its batch, and linear layers. */
function encoderShapes(shape: Shape): Map<string, number[]> {
  const { channels, kernel, latent, condition } = shape;
  const shapes = new Map<string, number[]>();
  for (const [i, to] of channels.entries()) {
    shapes.set(`encoder.${i}.weight`, [kernel, i > 0 ? channels[i - 1]! : 1, to]);
    for (const name of ['bias', 'scale', 'shift']) shapes.set(`encoder.${i}.${name}`, [to]);
  }
  shapes.set('encoder.linear.weight', [innermost(shape) * channels.at(-1)!, latent]);
  shapes.set('encoder.linear.bias', [latent]);
  for (const name of ['mean', 'logVariance']) {
    shapes.set(`encoder.${name}.weight`, [latent + condition, latent]);
    shapes.set(`encoder.${name}.bias`, [latent]);
  }
  return shapes;
}

/**
 * Uniform on ±1/√fan_in, of transposed convolutions on ±√(6/fan_in), which keeps the variance: half of their taps meet an
 * output. Biases 0, scales 1.
 */
function initial(shapes: ReadonlyMap<string, number[]>, random: Random): Map<string, tf.Tensor> {
  return new Map(
    [...shapes].map(([name, shape]) => {
      if (!name.endsWith('weight')) return [name, tf.fill(shape, name.endsWith('scale') ? 1 : 0)];
      const [first, second, third] = shape as [number, number, number | undefined];
      const transposed = name.startsWith('decoder') && third !== undefined;
      const bound = transposed
        ? Math.sqrt(6 / (first * third))
        : 1 / Math.sqrt(third === undefined ? first : first * second);
      const draw = random.split(name);
      const data = Float32Array.from({ length: tf.util.sizeFromShape(shape) }, () => (2 * draw.uniform() - 1) * bound);
      return [name, tf.tensor(data, shape)];
    }),
  );
}

type Get = (name: string) => tf.Tensor;

/** The encoder: x [batch, length, 1] → μ and log σ², each [batch, latent]. */
function encode(get: Get, { channels }: Shape, x: tf.Tensor3D, condition: tf.Tensor2D) {
  let y = x;
  for (let i = 0; i < channels.length; i++) {
    const conv = tf.add(tf.conv1d(y, get(`encoder.${i}.weight`) as tf.Tensor3D, 2, 'same'), get(`encoder.${i}.bias`));
    const { mean, variance } = tf.moments(conv, [0, 1]);
    const normal = tf.mul(tf.sub(conv, mean), tf.rsqrt(tf.add(variance, 1e-5)));
    y = tf.leakyRelu(
      tf.add(tf.mul(normal, get(`encoder.${i}.scale`)), get(`encoder.${i}.shift`)),
      SLOPE,
    ) as tf.Tensor3D;
  }
  const linear = (name: string, input: tf.Tensor) =>
    tf.add(tf.matMul(input, get(`${name}.weight`)), get(`${name}.bias`)) as tf.Tensor2D;
  const h = tf.concat([linear('encoder.linear', tf.reshape(y, [x.shape[0], -1])), condition], 1);
  return { mean: linear('encoder.mean', h), logVariance: linear('encoder.logVariance', h) };
}

/** The decoder of `decode` on the engine: z [batch, latent], condition [batch, condition] → [batch, padded length]. */
export function decodeOnEngine(get: Get, shape: Shape, z: tf.Tensor2D, condition: tf.Tensor2D): tf.Tensor2D {
  const { channels } = shape;
  const batch = z.shape[0];
  const start = tf.add(
    tf.matMul(tf.concat([z, condition], 1), get('decoder.linear.weight')),
    get('decoder.linear.bias'),
  );
  let length = innermost(shape);
  let y = tf.reshape(start, [batch, 1, length, channels.at(-1)!]) as tf.Tensor4D;
  for (let i = channels.length - 1; i >= 0; i--) {
    const weight = tf.expandDims(get(`decoder.${i}.weight`), 0) as tf.Tensor4D;
    length *= 2;
    const up = tf.conv2dTranspose(tf.elu(y), weight, [batch, 1, length, weight.shape[2]], [1, 2], 'same');
    y = tf.add(up, get(`decoder.${i}.bias`));
  }
  return tf.reshape(y, [batch, length]);
}

/** KL(N(μ, σ²) ‖ N(0, 1)), summed over the last axis: [batch]. */
export function divergenceOf(mean: tf.Tensor2D, logVariance: tf.Tensor2D): tf.Tensor1D {
  const terms = tf.sub(tf.add(tf.square(mean), tf.exp(logVariance)), tf.add(logVariance, 1));
  return tf.mul(tf.sum(terms, 1), 0.5) as tf.Tensor1D;
}

/** Mean square error plus weighted KL(N(μ, σ²) ‖ N(0, 1)), summed over z and averaged over the batch. */
function lossOf(
  get: Get,
  shape: Shape,
  x: tf.Tensor2D,
  condition: tf.Tensor2D,
  noise: tf.Tensor2D,
  divergence: number,
) {
  const { mean, logVariance } = encode(get, shape, tf.expandDims(x, 2), condition);
  const z = tf.add(mean, tf.mul(tf.exp(tf.mul(logVariance, 0.5)), noise)) as tf.Tensor2D;
  const error = tf.mean(tf.square(tf.sub(decodeOnEngine(get, shape, z, condition), x)));
  return tf.add(error, tf.mul(tf.mean(divergenceOf(mean, logVariance)), divergence)) as tf.Scalar;
}

/**
 * Fits a conditional variational autoencoder to adapters and gives the weights of its decoder, by the names of
 * `decoderShapes`. The same items and seed give the same bits on one engine.
 *
 * It sees conditions whitened: vectors of tasks on one base model are nearly parallel, and what tells them apart is
 * small. The decoder that it gives takes them as they are. A step of Adam moves an output by the rate times the number of
 * inputs, so the encoder's widest layer has a smaller rate (as in Yang et al. 2022, arXiv 2203.03466).
 * @param alive called after every step; may throw to stop
 */
export async function fitGenerator(
  items: readonly Item[],
  shape: Shape,
  fit: Fit,
  random: Random,
  alive: () => Promise<void>,
): Promise<TensorMap> {
  const start = initial(new Map([...encoderShapes(shape), ...decoderShapes(shape)]), random.split('weights'));
  const rateOf = (key: string) => {
    if (key === 'decoder.linear.bias') return SHARED;
    return key === 'encoder.linear.weight' ? Math.min(1, INPUTS / start.get(key)!.shape[0]!) : 1;
  };
  const optimizer = new AdamW(start, { multiplier: rateOf });
  tf.dispose([...start.values()]);
  const step = new Compiled(({ x, condition, noise, moments, rates }: StepInputs) => {
    const gradient = tf.grad((flat) => {
      const tensors = optimizer.flat.split(flat as tf.Tensor1D);
      return lossOf((name) => tensors.get(name)!, shape, x, condition, noise, fit.divergence);
    })(moments.weights) as tf.Tensor1D;
    return optimizer.next(moments, gradient, rates);
  });
  // Steps beyond its one epoch go on with further ones.
  const sampler = new Sampler(items.length, { epochs: 1, batchSize: fit.batchSize, random: random.split('order') });
  const distinct = [...new Set(items.map(({ condition }) => condition))];
  const view = whitening(distinct);
  const seen = new Map(
    distinct.map((condition) => {
      const apart = add(matrix(1, condition.length, condition), view.mean, -1);
      return [condition, toHost(multiply(apart, view.map)).data];
    }),
  );
  const length = paddedLength(shape);
  try {
    for (let done = 0; done < fit.steps; done++) {
      const batch = Array.from(sampler.batch(done), (i) => items[i]!);
      const draw = random.split(`noise ${done}`);
      const table = (vectors: readonly Float32Array[], width: number) =>
        tf.tensor2d(rows(vectors, width), [batch.length, width]);
      const inputs = {
        x: table(
          batch.map(({ weights }) => weights),
          length,
        ),
        condition: table(
          batch.map(({ condition }) => seen.get(condition)!),
          shape.condition,
        ),
        noise: table(
          batch.map(() => Float32Array.from({ length: shape.latent }, () => draw.normal())),
          shape.latent,
        ),
        rates: optimizer.rates(fit.learningRate * cosineWithWarmup(done, fit.steps, WARMUP)),
      };
      optimizer.accept(step.run({ ...inputs, moments: optimizer.moments }));
      tf.dispose(tensorsOf(inputs));
      await alive();
    }
    const all = optimizer.flat.toHost(optimizer.moments.weights);
    const decoder: TensorMap = new Map([...all].filter(([name]) => name.startsWith('decoder.')));
    absorb(decoder, shape, view);
    return decoder;
  } finally {
    step.dispose();
    optimizer.dispose();
  }
}

/** How conditions are seen: (c − mean) · map, [1, condition] · [condition, condition]. */
interface View {
  readonly mean: Matrix;
  readonly map: Matrix;
}

/** The view in which vectors lie around zero, apart from each other by as much in every direction, with entries of about 1. */
function whitening(vectors: readonly Float32Array[]): View {
  const [count, size] = [vectors.length, vectors[0]!.length];
  const all = matrix(
    count,
    size,
    vectors.flatMap((vector) => [...vector]),
  );
  const mean = multiply(matrix(1, count, Array(count).fill(1 / count)), all);
  const apart = add(all, multiply(matrix(count, 1, Array(count).fill(1)), mean), -1);
  const covariance = scale(gram(apart), 1 / count);
  // Vectors that are the same but for rounding are not driven apart.
  const ridge = RIDGE * trace(covariance) + 1e-6 * (inner(all, all) / count) + Number.EPSILON;
  const lower = cholesky(add(covariance, identity(size), ridge));
  return { mean, map: scale(solveTransposed(lower, identity(size)), Math.sqrt(size / Math.max(1, count - 1))) };
}

/** Moves the view into the decoder's first layer, so that it takes conditions as they are: [latent + condition, n] and [n]. */
function absorb(decoder: TensorMap, { latent, condition }: Shape, { mean, map }: View): void {
  const [weight, bias] = ['weight', 'bias'].map((name) => decoder.get(`decoder.linear.${name}`)!.data);
  const n = bias!.length;
  const own = weight!.subarray(latent * n);
  const seen = multiply(map, matrix(condition, n, own));
  own.set(seen.data);
  for (const [i, x] of multiply(mean, seen).data.entries()) bias![i]! -= x;
}

/** Vectors one after another, each padded with zeros. */
function rows(vectors: readonly Float32Array[], length: number): Float32Array {
  const all = new Float32Array(vectors.length * length);
  for (const [i, vector] of vectors.entries()) all.set(vector, i * length);
  return all;
}
