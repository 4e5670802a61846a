import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { mustMatch, sharedKey, tensorOf, tensorsOfTask, withTask } from '../bank.ts';
import { kaiming, zeros } from '../initial.ts';
import type { Active, Method, TrainableTensor } from '../method.ts';
import { largest, relativeWeights } from '../selection.ts';

const positive = z.number().positive();
const options = z
  .strictObject({
    /** r, factors that a sample chooses of each pool. */
    rank: positive.int().default(DEFAULTS['mixlora.rank'].value),
    alpha: positive.default(DEFAULTS['mixlora.alpha'].value),
    /** E, factors in each pool. */
    experts: positive.int().default(DEFAULTS['mixlora.experts'].value),
    /** Factors B are chosen with regard to the chosen A. */
    conditional: z.boolean().default(true),
    /** Factors count as their scores say, so that the routers learn; false: as in the authors' code, the routers stay. */
    weightByScore: z.boolean().default(true),
  })
  .refine(({ rank, experts }) => rank <= experts, {
    path: ['rank'],
    error: 'is above the number of experts: so many cannot be chosen. Lower it.',
  });
type Options = z.output<typeof options>;

/**
 * MixLoRA (arXiv 2402.15896): pools of E rows A and E columns B in every layer, of which each sample's prompt chooses r of
 * each: y = W0 x + alpha/r · Σ_j b_{B(j)} a_{A(j)}ᵀ x. It trains on from task to task.
 */
export const mixlora: Method<Options> = {
  name: 'mixlora',
  title: 'MixLoRA: every prompt mixes its own LoRA of pooled factors',
  paper: 'arXiv:2402.15896',
  options,
  needsTask: false,

  describe(layers, given) {
    const sizes = layers.flatMap((layer) => Object.values(shapes(layer, given)));
    const shared = sizes.reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
    const names = Object.keys(shapes({ in: 1, out: 1 }, given));
    return { shared: names, perTask: [], frozenAfterTask: [], parameters: { shared, perTask: 0 } };
  },

  start(layers, given, random) {
    const tensors: TensorMap = new Map();
    for (const layer of layers) {
      const draw = random.split(layer.name);
      for (const [name, shape] of Object.entries(shapes(layer, given))) {
        const flat: HostTensor = kaiming([shape.slice(0, -1).reduce((a, b) => a * b, 1), shape.at(-1)!], draw);
        tensors.set(sharedKey(layer.name, name), name === 'pool_B' ? zeros(shape) : { shape, data: flat.data });
      }
    }
    return { method: 'mixlora', options: given, layers, tasks: [], tensors };
  },

  begin(bank, task, given) {
    mustMatch(bank, given, ['rank', 'alpha', 'experts', 'conditional', 'weightByScore']);
    const tensors = new Map<string, TrainableTensor>();
    for (const { name } of bank.layers)
      for (const tensor of Object.keys(shapes({ in: 1, out: 1 }, given)))
        tensors.set(`${name}/${tensor}`, {
          start: tensorOf(bank, sharedKey(name, tensor)),
          place: 'shared',
          trained: given.weightByScore || tensor.startsWith('pool'),
        });
    return { task, tensors, constants: new Map(), earlierTasks: bank.tasks };
  },

  /** Which A goes with which B, and how much each pair counts: [samples, E, E]. */
  route: (layer, x, active, given, rows) => pairing(layer.name, rows.mean(x), active, given),

  apply(layer, x, base, active, given, routed) {
    const pool = (name: string) => active.get(layer.name, name) as tf.Tensor2D;
    const z = tf.mul(tf.matMul(x, pool('pool_A'), false, true), given.alpha / given.rank) as tf.Tensor2D;
    return tf.add(base, tf.matMul(routed!.rows.times(z, routed!.route as tf.Tensor3D), pool('pool_B'), false, true));
  },

  finish: withTask,
  activate: tensorsOfTask,
};

/** Tensors of a layer: pools, routers, and what of the chosen A says which B. Each B stands in a column. */
function shapes(layer: { in: number; out: number }, { rank, experts, conditional }: Options): Record<string, number[]> {
  return {
    pool_A: [experts, layer.in],
    pool_B: [layer.out, experts],
    router_A: [experts, layer.in],
    router_B: [experts, layer.in],
    ...(conditional && { router_AB: [rank, experts, layer.in] }),
  };
}

/**
 * Σ_j w_j onehot(A(j)) onehot(B(j))ᵀ for every sample, [samples, E, E], from the mean h of its prompt, [samples, in]:
 * A(j) the r largest of W_A h; B(j) those of softmax(W_B h), and where conditional of that plus softmax(g) with
 * g = Σ_j softmax(W_AB^(j) a_{A(j)}). w_j is the product of both scores, each relative to the mean of those chosen.
 */
export function pairing(layer: string, h: tf.Tensor2D, active: Active, given: Options): tf.Tensor3D {
  const { rank, experts, conditional, weightByScore } = given;
  const scores = (router: string) =>
    tf.softmax(tf.matMul(h, active.get(layer, router) as tf.Tensor2D, false, true)) as tf.Tensor2D;
  const scoresA = scores('router_A');
  const A = largest(scoresA, rank);
  let scoresB = scores('router_B');
  if (conditional) {
    const router = tf.reshape(active.get(layer, 'router_AB'), [rank * experts, -1]) as tf.Tensor2D;
    const each = tf.matMul(active.get(layer, 'pool_A') as tf.Tensor2D, router, false, true);
    const byPair = tf.softmax(tf.transpose(tf.reshape(each, [experts, rank, experts]), [1, 0, 2]));
    const g = tf.matMul(tf.reshape(A, [h.shape[0], rank * experts]), tf.reshape(byPair, [rank * experts, experts]));
    scoresB = tf.add(scoresB, tf.softmax(g));
  }
  const B = largest(scoresB, rank);
  const weights = weightByScore
    ? tf.mul(relativeWeights(A, scoresA), relativeWeights(B, scoresB))
    : tf.ones([h.shape[0], rank]);
  return tf.matMul(tf.mul(A, tf.expandDims(weights, 2)) as tf.Tensor3D, B, true, false);
}
