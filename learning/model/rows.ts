import * as tf from '@tensorflow/tfjs';
import { gatherRows } from '../tensors/ops.ts';
import type { BatchTensors } from './batch.ts';
import type { Adapt, Rows } from './model.ts';

/** What adapters chose for the rows of a prompt, [rows, …], by layer: kept with the cache for the tokens that follow. */
export type Routes = Readonly<Record<string, tf.Tensor>>;

/** Tokens of text, so many for every row. */
class TextRows implements Rows {
  readonly count: number;
  private readonly length: number;
  private readonly prompt: tf.Tensor2D | null;
  private readonly known: Routes | null;
  /** What was chosen in this pass. */
  readonly made: Record<string, tf.Tensor> = {};

  /**
   * @param prompt [count, length]: 1 for tokens of the prompt; null for a pass after it
   * @param known what was chosen at the prompt; null while it passes
   */
  constructor(count: number, length: number, prompt: tf.Tensor2D | null, known: Routes | null) {
    this.count = count;
    this.length = length;
    this.prompt = prompt;
    this.known = known;
  }

  mean(x: tf.Tensor2D): tf.Tensor2D {
    if (!this.prompt) throw new Error('a pass after the prompt has none');
    const share = tf.div(this.prompt, tf.maximum(tf.sum(this.prompt, 1, true), 1));
    const width = x.shape[1];
    const rows = tf.reshape(x, [this.count, this.length, width]);
    const means = tf.matMul(tf.reshape(share, [this.count, 1, this.length]), rows);
    return tf.reshape(means, [this.count, width]);
  }

  spread(values: tf.Tensor2D): tf.Tensor2D {
    if (this.length === 1) return values;
    const width = values.shape[1];
    const each = tf.mul(tf.reshape(values, [this.count, 1, width]), tf.ones([1, this.length, 1]));
    return tf.reshape(each, [this.count * this.length, width]);
  }

  times(x: tf.Tensor2D, matrices: tf.Tensor3D): tf.Tensor2D {
    const [count, a, b] = matrices.shape;
    return tf.reshape(tf.matMul(tf.reshape(x, [count, this.length, a]), matrices), [count * this.length, b]);
  }

  chosen(layer: string, choose: () => tf.Tensor | null): tf.Tensor | null {
    if (this.known) return this.known[layer] ?? null;
    const found = choose();
    if (found) this.made[layer] = found;
    return found;
  }
}

/** Image tokens: those of one row lie in one or several pictures, fillers in no row. */
class ImageRows implements Rows {
  readonly count: number;
  private readonly of: tf.Tensor1D;

  /** @param of row of every image token, [tokens] int32; `count` for fillers */
  constructor(count: number, of: tf.Tensor1D) {
    this.count = count;
    this.of = of;
  }

  mean(x: tf.Tensor2D): tf.Tensor2D {
    const row = tf.expandDims(tf.range(0, this.count, 1, 'int32'), 1);
    const own = tf.cast(tf.equal(row, tf.expandDims(this.of, 0)), 'float32');
    return tf.matMul(tf.div(own, tf.maximum(tf.sum(own, 1, true), 1)), x);
  }

  spread(values: tf.Tensor2D): tf.Tensor2D {
    const withFiller = tf.pad(values, [
      [0, 1],
      [0, 0],
    ]);
    return gatherRows(withFiller, this.of);
  }

  times(x: tf.Tensor2D, matrices: tf.Tensor3D): tf.Tensor2D {
    const [count, a, b] = matrices.shape;
    const tokens = x.shape[0];
    const each = tf.reshape(this.spread(tf.reshape(matrices, [count, a * b])), [tokens, a, b]);
    return tf.reshape(tf.matMul(tf.reshape(x, [tokens, 1, a]), each), [tokens, b]);
  }

  chosen(_layer: string, choose: () => tf.Tensor | null): tf.Tensor | null {
    return choose();
  }
}

/** Rows of a pass with the prompt in it. */
export const promptRows = ({ rows, length, prompt }: Pick<BatchTensors, 'rows' | 'length' | 'prompt'>): TextRows =>
  new TextRows(rows, length, prompt, null);

/** Rows of a pass of one token each, after the prompt. */
export const nextRows = (count: number, routes: Routes): Rows => new TextRows(count, 1, null, routes);

/** Rows of the image tokens of a batch. */
export function imageRows({ rows, length }: Pick<BatchTensors, 'rows' | 'length'>, at: tf.Tensor1D): Rows {
  return new ImageRows(rows, tf.cast(tf.floorDiv(at, tf.scalar(length, 'int32')), 'int32'));
}

/** Tells an adapter that asks for it which samples its tokens are of. */
export function onRows(adapt: Adapt, rowsOf: () => Rows): Adapt {
  if (!adapt.byRows) return adapt;
  const rows = rowsOf();
  return (layer, x, base) => adapt(layer, x, base, rows);
}
