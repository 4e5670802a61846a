import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import type { HostTensor } from '../../../core/host-tensor.ts';
import { withGradient } from '../../tensors/ops.ts';
import { mustMatch, withTask } from '../bank.ts';
import { kaiming } from '../initial.ts';
import { applyPair, earlierLoras, freshPair, PAIR, summedLoras, withEarlier } from '../lora.ts';
import type { Active, Method, TrainableTensor } from '../method.ts';
import { meanPenalty } from '../penalties.ts';
import { loraOptions } from '../ranks.ts';
import { amongLargest } from '../selection.ts';

const options = loraOptions
  .extend({
    /** k, experts that take part in a training step; two thirds of the rank when absent. */
    activeExperts: z.number().int().positive().optional(),
    /** Experts that stay of a task; half of the active ones when absent. */
    mergedExperts: z.number().int().positive().optional(),
    /** λ of the orthogonality of what a task's strongest experts put out to that of earlier tasks. */
    orthogonalityWeight: z.number().min(0).default(DEFAULTS['dac.orthogonalityWeight'].value),
    /** Experts count as the router says, so that it learns; false: as in the authors' code, it stays as it is. */
    weightByGate: z.boolean().default(true),
    /** All samples of a batch have the same experts, those that most of them would choose; or each its own. */
    mask: z.enum(['batch', 'sample']).default('batch'),
    /** The sum of the absolute overlaps as in the authors' code, or their mean as in the paper. */
    overlap: z.enum(['sum', 'mean']).default('sum'),
  })
  .transform((given) => {
    const activeExperts = given.activeExperts ?? Math.ceil((2 * given.rank) / 3);
    return {
      ...given,
      activeExperts,
      mergedExperts: given.mergedExperts ?? Math.max(1, Math.floor(activeExperts / 2)),
    };
  })
  .refine(({ rank, activeExperts, mergedExperts }) => activeExperts <= rank && mergedExperts <= rank, {
    path: ['activeExperts'],
    error: 'or mergedExperts is above the rank, which is the number of experts. Lower it.',
  });
type Options = z.output<typeof options>;

/**
 * DAC, a pool of rank-1 experts (arXiv 2601.22828): a LoRA of rank r is r experts b_i a_iᵀ, of which the prompts of a batch
 * choose k. The strongest of a task stay, added to those of earlier tasks; the rest is dropped.
 */
export const dac: Method<Options> = {
  ...summedLoras,
  name: 'dac',
  title: 'DAC: rank-1 experts, of which the strongest of every task stay',
  paper: 'arXiv:2601.22828',
  options,

  describe(layers, { mergedExperts }) {
    const perTask = layers.reduce((sum, layer) => sum + mergedExperts * (layer.in + layer.out), 0);
    return { shared: [], perTask: PAIR, frozenAfterTask: PAIR, parameters: { shared: 0, perTask } };
  },

  start: (layers, given) => ({ method: 'dac', options: given, layers, tasks: [], tensors: new Map() }),

  begin(bank, task, given, random) {
    mustMatch(bank, given, ['rank', 'alpha', 'mergedExperts']);
    const tensors = new Map<string, TrainableTensor>();
    for (const layer of bank.layers) {
      const own = (name: string, start: HostTensor, trained = true) =>
        void tensors.set(`${layer.name}/${name}`, { start, place: 'own', trained });
      for (const [name, start] of Object.entries(freshPair(layer, given.rank, random))) own(name, start);
      const draw = random.split(`${layer.name} router`);
      own('router', kaiming([given.rank, layer.in], draw), given.weightByGate);
      const { data } = kaiming([given.rank, layer.in], draw);
      own('router_bias', { shape: [given.rank], data: data.slice(0, given.rank) }, given.weightByGate);
    }
    return { task, tensors, constants: earlierLoras(bank), earlierTasks: bank.tasks };
  },

  /** How much every expert counts for a sample, [samples, r]. What stays of a task is not routed. */
  route(layer, x, active, given, rows) {
    if (!active.has(layer.name, 'router')) return null;
    const router = active.get(layer.name, 'router') as tf.Tensor2D;
    const scores = tf.add(tf.matMul(rows.mean(x), router, false, true), active.get(layer.name, 'router_bias'));
    return gates(tf.softmax(scores) as tf.Tensor2D, given);
  },

  apply(layer, x, base, active, given, routed) {
    if (!routed) return applyPair(layer, x, base, active, given);
    const factor = (name: string) => active.get(layer.name, name) as tf.Tensor2D;
    const z = tf.mul(tf.matMul(x, factor('lora_A'), false, true), given.alpha / given.rank);
    const open = tf.mul(z, routed.rows.spread(routed.route as tf.Tensor2D)) as tf.Tensor2D;
    return tf.add(withEarlier(layer, x, base, active, given), tf.matMul(open, factor('lora_B'), false, true));
  },

  penalty: (active, given) => meanPenalty(active, given.orthogonalityWeight, (layer) => overlap(active, layer, given)),

  /** The strongest experts stay, in the order of their strength. The router goes. */
  finish(bank, trainable, trained) {
    const { mergedExperts } = bank.options as Options;
    const kept = new Map<string, TrainableTensor>();
    for (const { name } of bank.layers) {
      const [A, B] = PAIR.map((tensor) => {
        const key = `${name}/${tensor}`;
        return trained.get(key) ?? trainable.tensors.get(key)!.start;
      }) as [HostTensor, HostTensor];
      const order = strongest(A, B).slice(0, mergedExperts);
      kept.set(`${name}/lora_A`, { start: rowsOf(A, order), place: 'own', trained: false });
      kept.set(`${name}/lora_B`, { start: columnsOf(B, order), place: 'own', trained: false });
    }
    return withTask(bank, { ...trainable, tensors: kept }, new Map());
  },
};

/**
 * How much each expert counts for each sample, [samples, r], from the router's probabilities: 0 for those that are closed,
 * and for the k open ones 1, or their probability relative to the mean of the open ones.
 */
export function gates(p: tf.Tensor2D, { activeExperts, mask, weightByGate }: Options): tf.Tensor2D {
  const own = amongLargest(p, activeExperts);
  // Equal votes are decided by the mean probability, which is below one vote.
  const votes = () => tf.add(tf.sum(own, 0, true), tf.mean(p, 0, true)) as tf.Tensor2D;
  const open = mask === 'batch' ? tf.add(amongLargest(votes(), activeExperts), tf.zeros(p.shape)) : own;
  if (!weightByGate) return open as tf.Tensor2D;
  const weights = tf.mul(open, p);
  return tf.div(tf.mul(weights, activeExperts), tf.sum(weights, 1, true));
}

/**
 * How far what the strongest experts put out overlaps with that of earlier tasks: Σ |B_pastᵀ B_top|, or the mean over all
 * pairs. Null in the first task. Strength is ‖b_i‖ ‖a_i‖ as it is now.
 */
export function overlap(active: Active, layer: string, given: Options): tf.Tensor | null {
  const past = active.constant(layer, 'lora_B_earlier') as tf.Tensor2D | undefined;
  if (!past) return null;
  const [A, B] = PAIR.map((name) => active.get(layer, name) as tf.Tensor2D) as [tf.Tensor2D, tf.Tensor2D];
  const top = withGradient([A, B], (A, B) => ({
    value: amongLargest(strengths(A as tf.Tensor2D, B as tf.Tensor2D), given.mergedExperts),
    save: [],
    gradient: () => [tf.zeros(A.shape), tf.zeros(B.shape)],
  }));
  const sum = tf.sum(tf.mul(tf.abs(tf.matMul(past, B, true, false)), top));
  return given.overlap === 'mean' ? tf.div(sum, past.shape[1] * given.mergedExperts) : sum;
}

/** ‖b_i‖² ‖a_i‖² of every expert, [1, r]. */
const strengths = (A: tf.Tensor2D, B: tf.Tensor2D) =>
  tf.mul(tf.expandDims(tf.sum(tf.square(A), 1), 0), tf.sum(tf.square(B), 0, true)) as tf.Tensor2D;

/** Numbers of the experts, the strongest first. */
function strongest(A: HostTensor, B: HostTensor): number[] {
  const [rank, inputs] = A.shape as [number, number];
  const strength = Array.from({ length: rank }, (_, i) => {
    const a = A.data.subarray(i * inputs, (i + 1) * inputs).reduce((sum, x) => sum + x * x, 0);
    const b = B.data.reduce((sum, x, at) => sum + (at % rank === i ? x * x : 0), 0);
    return a * b;
  });
  return strength.map((_, i) => i).sort((i, j) => strength[j]! - strength[i]! || i - j);
}

function rowsOf({ shape, data }: HostTensor, rows: readonly number[]): HostTensor {
  const width = shape[1]!;
  const taken = new Float32Array(rows.length * width);
  for (const [at, row] of rows.entries()) taken.set(data.subarray(row * width, (row + 1) * width), at * width);
  return { shape: [rows.length, width], data: taken };
}

function columnsOf({ shape, data }: HostTensor, columns: readonly number[]): HostTensor {
  const [rows, width] = shape as [number, number];
  const taken = Float32Array.from({ length: rows * columns.length }, (_, at) => {
    const [row, column] = [Math.floor(at / columns.length), at % columns.length];
    return data[row * width + columns[column]!]!;
  });
  return { shape: [rows, columns.length], data: taken };
}
