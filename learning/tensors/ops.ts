import * as tf from '@tensorflow/tfjs';
import { isHalf, widened } from './half.ts';

/*
 * The fused operations of a transformer. They run on every back end. Those with a gradient of their own take what is
 * never trained (weights of a norm, tables, masks) outside of it, because a custom gradient computes all of its parts,
 * also those that nobody asked for.
 */

type Saved = tf.Tensor[];

/** A number so low that softmax gives exactly 0 for it, and finite, so that a row without any key stays a number. */
const MASKED = -1e9;

/**
 * `tf.customGrad` with types: `forward` gives the value and, from dy, one gradient per input. The gradient may read only
 * what `save` lists (others may be gone by then) and tensors that outlive the step.
 */
export function withGradient<T extends tf.Tensor>(
  inputs: tf.Tensor[],
  forward: (...args: tf.Tensor[]) => { value: T; save: tf.Tensor[]; gradient: (dy: T, saved: Saved) => tf.Tensor[] },
): T {
  const op = tf.customGrad((...args) => {
    const save = args.pop() as unknown as tf.GradSaveFunc;
    const { value, save: kept, gradient } = forward(...(args as tf.Tensor[]));
    save(kept);
    return { value, gradFunc: (dy: tf.Tensor, saved: Saved) => gradient(dy as T, saved) };
  });
  return op(...inputs) as T;
}

/** The same numbers, through which no gradient flows. */
export function detached<T extends tf.Tensor>(x: T): T {
  const shape = x.shape;
  return withGradient([x], (x) => ({ value: tf.clone(x) as T, save: [], gradient: () => [tf.zeros(shape)] }));
}

/** x Wᵀ + b: x [n, in], weight [out, in], also in halves, bias [out]. */
export function linear(x: tf.Tensor2D, weight: tf.Tensor, bias?: tf.Tensor): tf.Tensor2D {
  const y = isHalf(weight) ? halfProduct(x, weight as tf.Tensor2D) : (tf.matMul(x, weight, false, true) as tf.Tensor2D);
  return bias ? (tf.add(y, bias) as tf.Tensor2D) : y;
}

/** x Wᵀ. The matrix is widened for each pass anew: float32 copies of all layers would not fit. */
function halfProduct(x: tf.Tensor2D, weight: tf.Tensor2D): tf.Tensor2D {
  return withGradient([x], (x) => ({
    value: tf.matMul(x as tf.Tensor2D, widened(weight, weight, x), false, true) as tf.Tensor2D,
    save: [],
    gradient: (dy) => [tf.matMul(dy, widened(weight, weight, dy))],
  }));
}

/** x / √(mean x² + eps) · weight over the last axis (Zhang & Sennrich 2019). */
export function rmsNorm<T extends tf.Tensor>(x: T, weight: tf.Tensor, eps: number): T {
  const normal = withGradient([x], (x) => {
    const r = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), eps));
    const y = tf.mul(x, r);
    return { value: y, save: [y, r], gradient: (dy, [y, r]) => [tf.mul(r!, tf.sub(dy, tf.mul(y!, meanOf(dy, y!))))] };
  });
  return tf.mul(normal, weight) as T;
}

/** (x − mean) / √(variance + eps) · weight + bias over the last axis (Ba, Kiros & Hinton 2016). */
export function layerNorm<T extends tf.Tensor>(x: T, weight: tf.Tensor, bias: tf.Tensor, eps: number): T {
  const normal = withGradient([x], (x) => {
    const centred = tf.sub(x, tf.mean(x, -1, true));
    const r = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), eps));
    const y = tf.mul(centred, r);
    return {
      value: y,
      save: [y, r],
      gradient: (dy, [y, r]) => [tf.mul(r!, tf.sub(tf.sub(dy, tf.mean(dy, -1, true)), tf.mul(y!, meanOf(dy, y!))))],
    };
  });
  return tf.add(tf.mul(normal, weight), bias) as T;
}

function meanOf(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  return tf.mean(tf.mul(a, b), -1, true);
}

/** silu(gate) · up (Shazeer 2020). */
export function swiglu(gate: tf.Tensor2D, up: tf.Tensor2D): tf.Tensor2D {
  return withGradient([gate, up], (gate, up) => {
    const s = tf.sigmoid(gate);
    const a = tf.mul(gate, s);
    return {
      value: tf.mul(a, up) as tf.Tensor2D,
      save: [up, s, a],
      gradient: (dy, [up, s, a]) => [tf.mul(tf.mul(dy, up!), tf.add(s!, tf.mul(a!, tf.sub(1, s!)))), tf.mul(dy, a!)],
    };
  });
}

/**
 * Rotary position embedding (Su et al. 2021) in the half-split form of LLaMA.
 * @param x [rows, heads, tokens, size]
 * @param cos cosines, [rows or 1, 1, tokens, size]
 * @param sin sines, negative in the first half of `size` and positive in the second, shape of `cos`
 */
export function rotary(x: tf.Tensor4D, cos: tf.Tensor, sin: tf.Tensor): tf.Tensor4D {
  const turned = (t: tf.Tensor, sin: tf.Tensor) => {
    const [a, b] = tf.split(t, 2, 3);
    return tf.mul(tf.concat([b!, a!], 3), sin);
  };
  return withGradient([x], (x) => ({
    value: tf.add(tf.mul(x, cos), turned(x, sin)) as tf.Tensor4D,
    save: [cos, sin],
    gradient: (dy, [cos, sin]) => [tf.sub(tf.mul(dy, cos!), turned(dy, sin!))],
  }));
}

/**
 * What is added to attention scores: 0 where a query may look, −1e9 where not.
 * @param keys 1 for real tokens, 0 for padding, [rows, 1, 1, keys]
 * @param query null: queries and keys are the same tokens, and none looks at later ones. Else the place of the one query
 *   among the keys, scalar int32
 * @param window how many tokens back a query looks, itself included; null: all
 */
export function attentionBias(keys: tf.Tensor4D, query: tf.Scalar | null, window: number | null = null): tf.Tensor4D {
  const count = keys.shape[3];
  const at = tf.range(0, count, 1, 'int32');
  const from = query ?? tf.expandDims(at, 1);
  let allowed: tf.Tensor = keys;
  const only = (seen: tf.Tensor) => {
    allowed = tf.mul(allowed, tf.cast(seen, 'float32'));
  };
  only(tf.greaterEqual(from, at));
  if (window !== null) only(tf.less(tf.sub(from, at), window));
  return tf.mul(tf.sub(1, allowed), MASKED) as tf.Tensor4D;
}

/**
 * softmax(q kᵀ / √size + bias) v. Each group of heads / kvHeads query heads shares one key head (grouped-query attention).
 * @param q [rows, heads, queries, size]
 * @param k [rows, kvHeads, keys, size]
 * @param v [rows, kvHeads, keys, size]
 * @param bias [rows or 1, 1, queries or 1, keys]; null: every query sees every key
 * @returns [rows, heads, queries, size]
 */
export function attention(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, bias: tf.Tensor4D | null): tf.Tensor4D {
  const [rows, heads, queries, size] = q.shape;
  const [, kvHeads, keys] = k.shape;
  const factor = 1 / Math.sqrt(size);
  // Query heads of one group lie side by side, so they become more queries of their key head.
  const grouped: [number, number, number] = [rows, kvHeads, (heads / kvHeads) * queries];
  return withGradient([q, k, v], (q, k, v) => {
    const queriesOf = tf.reshape(tf.mul(q, factor), [...grouped, size]);
    const scores = tf.reshape(tf.matMul(queriesOf, k, false, true), [rows, heads, queries, keys]);
    const p = tf.reshape(tf.softmax(bias ? tf.add(scores, bias) : scores), [...grouped, keys]);
    return {
      value: tf.reshape(tf.matMul(p, v), [rows, heads, queries, size]) as tf.Tensor4D,
      save: [queriesOf, k, v, p],
      gradient: (dy, saved) => {
        const [queriesOf, k, v, p] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
        const dOut = tf.reshape(dy, [...grouped, size]);
        const dp = tf.matMul(dOut, v, false, true);
        const ds = tf.mul(p, tf.sub(dp, tf.sum(tf.mul(dp, p), -1, true)));
        const dq = tf.mul(tf.reshape(tf.matMul(ds, k), q.shape), factor);
        return [dq, tf.matMul(ds, queriesOf, true, false), tf.matMul(p, dOut, true, false)];
      },
    };
  });
}

/**
 * `attention` over keys and values that lie in several places, one after another, without putting them together. Without a
 * gradient.
 * @param parts k and v [rows, kvHeads, keys of the part, size]
 * @param bias [rows or 1, 1, queries or 1, keys of all parts]
 */
export function attentionOver(
  q: tf.Tensor4D,
  parts: ReadonlyArray<{ readonly k: tf.Tensor4D; readonly v: tf.Tensor4D }>,
  bias: tf.Tensor4D,
): tf.Tensor4D {
  const [rows, heads, queries, size] = q.shape;
  const kvHeads = parts[0]!.k.shape[1];
  const grouped: [number, number, number] = [rows, kvHeads, (heads / kvHeads) * queries];
  const queriesOf = tf.reshape(tf.mul(q, 1 / Math.sqrt(size)), [...grouped, size]);
  const keys = parts.map(({ k }) => k.shape[2]);
  const all = keys.reduce((a, b) => a + b, 0);
  const scores = tf.concat(
    parts.map(({ k }) => tf.matMul(queriesOf, k, false, true)),
    3,
  );
  const p = tf.reshape(tf.softmax(tf.add(tf.reshape(scores, [rows, heads, queries, all]), bias)), [...grouped, all]);
  const shares = tf.split(p, keys, 3).map((share, i) => tf.matMul(share, parts[i]!.v));
  return tf.reshape(
    shares.reduce((a, b) => tf.add(a, b)),
    [rows, heads, queries, size],
  ) as tf.Tensor4D;
}

/**
 * Rows of a matrix by number: x [n, width], also in halves, at [m] → [m, width]. Numbers are not checked, which `tf.gather` does by
 * reading them: that stops a GPU, and a recording.
 */
export function gatherRows(x: tf.Tensor2D, at: tf.Tensor1D): tf.Tensor2D {
  if (isHalf(x)) return widened(nativeGather(x, at), x, at);
  const shape = x.shape;
  return withGradient([x], (x) => ({
    value: tf.getBackend() === 'tensorflow' ? nativeGather(x as tf.Tensor2D, at) : (tf.gather(x, at) as tf.Tensor2D),
    save: [at],
    // Where a row is taken twice, its gradients add up.
    gradient: (dy, [at]) => [tf.scatterND(tf.expandDims(at!, 1), dy, shape)],
  }));
}

function nativeGather(x: tf.Tensor2D, at: tf.Tensor1D): tf.Tensor2D {
  const backend = tf.backend() as unknown as NativeBackend;
  const { TF_ATTR_TYPE: type, TF_ATTR_INT, TF_FLOAT, TF_INT32 } = backend.binding;
  const attributes = [
    { name: 'batch_dims', type: TF_ATTR_INT, value: 0 },
    { name: 'Tparams', type, value: x.dtype === 'int32' ? TF_INT32 : TF_FLOAT },
    { name: 'Tindices', type, value: TF_INT32 },
    { name: 'Taxis', type, value: TF_INT32 },
  ];
  const inputs = [x, at, tf.scalar(0, 'int32')];
  return backend.executeMultipleOutputs('GatherV2', attributes, inputs, 1)[0] as tf.Tensor2D;
}

/**
 * Dropout (Srivastava et al. 2014): each number becomes 0 with probability `rate`, the others grow by 1 / (1 − rate).
 * The mask depends on `seed` alone, two whole numbers [2] int32: TensorFlow draws it by its stateless generator (Philox),
 * so that it can be recorded; elsewhere it comes from JavaScript, and is another one.
 */
export function dropout(x: tf.Tensor2D, rate: number, seed: tf.Tensor1D): tf.Tensor2D {
  if (tf.getBackend() !== 'tensorflow') {
    const [a, b] = seed.dataSync();
    return tf.dropout(x, rate, undefined, `${a} ${b}`) as tf.Tensor2D;
  }
  const backend = tf.backend() as unknown as NativeBackend;
  const { TF_ATTR_TYPE: type, TF_FLOAT, TF_INT32 } = backend.binding;
  const attributes = [
    { name: 'dtype', type, value: TF_FLOAT },
    { name: 'T', type, value: TF_INT32 },
    { name: 'Tseed', type, value: TF_INT32 },
  ];
  const shape = tf.tensor1d(x.shape, 'int32');
  const [uniform] = backend.executeMultipleOutputs('StatelessRandomUniform', attributes, [shape, seed], 1);
  const kept = tf.cast(tf.greaterEqual(uniform!, rate), 'float32');
  return tf.mul(x, tf.mul(kept, 1 / (1 - rate)));
}

/**
 * x with some rows replaced: x [n, width], rows [m, width], at [m] different row numbers, keep [n, 1] with 0 at these
 * rows and 1 elsewhere. Rows for number n go nowhere: they only fill up to a common size.
 */
export function putRows(x: tf.Tensor2D, rows: tf.Tensor2D, at: tf.Tensor1D, keep: tf.Tensor2D): tf.Tensor2D {
  const [n, width] = x.shape;
  const placed = withGradient([rows], (rows) => ({
    value: tf.slice(tf.scatterND(tf.expandDims(at, 1), rows, [n + 1, width]), [0, 0], [n, width]) as tf.Tensor2D,
    save: [at],
    gradient: (dy, [at]) => [
      gatherRows(
        tf.pad(dy as tf.Tensor2D, [
          [0, 1],
          [0, 0],
        ]),
        at as tf.Tensor1D,
      ),
    ],
  }));
  return tf.add(tf.mul(x, keep), placed) as tf.Tensor2D;
}

/**
 * A table with one entry of its third axis replaced: table [a, b, n, c], entry [a, b, 1, c], at scalar int32. Without a
 * gradient.
 */
export function putEntry(table: tf.Tensor4D, entry: tf.Tensor4D, at: tf.Scalar): tf.Tensor4D {
  if (tf.getBackend() === 'tensorflow') return nativePutEntry(table, entry, at);
  const places = tf.reshape(tf.range(0, table.shape[2], 1, 'int32'), [1, 1, table.shape[2], 1]);
  return tf.where(tf.equal(places, at), entry, table) as tf.Tensor4D;
}

function nativePutEntry(table: tf.Tensor4D, entry: tf.Tensor4D, at: tf.Scalar): tf.Tensor4D {
  const backend = tf.backend() as unknown as NativeBackend;
  const { TF_ATTR_TYPE: type, TF_ATTR_INT, TF_FLOAT, TF_INT32 } = backend.binding;
  // Bits of axes that are taken whole: all but the third.
  const whole = 0b1011;
  const masks = { begin_mask: whole, end_mask: whole, ellipsis_mask: 0, new_axis_mask: 0, shrink_axis_mask: 0 };
  const attributes = [
    { name: 'T', type, value: TF_FLOAT },
    { name: 'Index', type, value: TF_INT32 },
    ...Object.entries(masks).map(([name, value]) => ({ name, type: TF_ATTR_INT, value })),
  ];
  const ints = (...values: number[]) => tf.tensor1d(values, 'int32');
  const place = (x: tf.Tensor) => tf.concat1d([ints(0, 0), tf.reshape(x, [1]), ints(0)]);
  const inputs = [table, place(at), place(tf.add(at, tf.scalar(1, 'int32'))), ints(1, 1, 1, 1), entry];
  return backend.executeMultipleOutputs('TensorStridedSliceUpdate', attributes, inputs, 1)[0] as tf.Tensor4D;
}

/**
 * −log softmax(logits)[label] of every row: logits [n, classes], labels [n] of type int32 → [n]. TensorFlow has one
 * operation that gives loss and gradient without a one-hot matrix; elsewhere the same in portable operations.
 */
export function crossEntropy(logits: tf.Tensor2D, labels: tf.Tensor1D): tf.Tensor1D {
  return withGradient([logits], (z) => {
    const { loss, slope } = tf.getBackend() === 'tensorflow' ? nativeCrossEntropy(z, labels) : portable(z, labels);
    return { value: loss, save: [slope], gradient: (dy, [slope]) => [tf.mul(slope!, tf.expandDims(dy, 1))] };
  });
}

function portable(z: tf.Tensor, labels: tf.Tensor1D): { loss: tf.Tensor1D; slope: tf.Tensor } {
  const logP = tf.logSoftmax(z);
  // A float one-hot is wrong on the wasm back end: make it of integers.
  const hot = tf.cast(tf.oneHot(labels, z.shape[1]!), 'float32');
  return { loss: tf.neg(tf.sum(tf.mul(logP, hot), 1)) as tf.Tensor1D, slope: tf.sub(tf.exp(logP), hot) };
}

interface NativeBackend {
  readonly binding: { TF_ATTR_TYPE: number; TF_ATTR_INT: number; TF_FLOAT: number; TF_INT32: number };
  executeMultipleOutputs(name: string, attributes: unknown[], inputs: tf.Tensor[], outputs: number): tf.Tensor[];
}

function nativeCrossEntropy(z: tf.Tensor, labels: tf.Tensor1D): { loss: tf.Tensor1D; slope: tf.Tensor } {
  const backend = tf.backend() as unknown as NativeBackend;
  const { TF_ATTR_TYPE: type, TF_FLOAT, TF_INT32 } = backend.binding;
  const attributes = [
    { name: 'T', type, value: TF_FLOAT },
    { name: 'Tlabels', type, value: TF_INT32 },
  ];
  const name = 'SparseSoftmaxCrossEntropyWithLogits';
  const [loss, slope] = backend.executeMultipleOutputs(name, attributes, [z, labels], 2);
  return { loss: loss as tf.Tensor1D, slope: slope! };
}
