import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import type { TensorMap } from '../../../core/host-tensor.ts';
import { add, fromHost, identity, multiply, toHost } from '../../tensors/linalg.ts';
import { detached } from '../../tensors/ops.ts';
import { mustMatch, sharedKey, tensorOf, tensorsOfTask } from '../bank.ts';
import { zeros } from '../initial.ts';
import { foldLayers, oneLora } from '../lora.ts';
import type { Active, Method, TrainableTensor } from '../method.ts';
import { meanPenalty } from '../penalties.ts';
import { loraOptions } from '../ranks.ts';

const options = loraOptions.extend({
  /** λ of the orthogonality loss. */
  orthogonalityWeight: z.number().min(0).default(DEFAULTS['c-lora.orthogonalityWeight'].value),
  /** Which spaces of the old and the new routing must not overlap: outputs, inputs, or both. */
  orthogonality: z.enum(['columns', 'rows', 'both']).default('columns'),
  /** A and B stay as the first task left them; later tasks train the routing alone. */
  freezeFactorsAfterFirst: z.boolean().default(false),
});
type Options = z.output<typeof options>;

const one = oneLora<Options>('c-lora');

/**
 * C-LoRA (arXiv 2502.17920): one LoRA with a routing matrix between its factors, ΔW = s · B (R_old + R_δ) A. A task trains
 * R_δ, held orthogonal to what R_old uses, and adds it to R_old.
 */
export const cLora: Method<Options> = {
  ...one,
  title: 'C-LoRA: one LoRA with a routing matrix, new routes orthogonal to old ones',
  paper: 'arXiv:2502.17920',
  options,

  describe(layers, given) {
    const { parameters } = one.describe(layers, given);
    return {
      shared: [...SHARED],
      perTask: [],
      frozenAfterTask: given.freezeFactorsAfterFirst ? ['lora_A', 'lora_B'] : [],
      parameters: { shared: parameters.shared + layers.length * given.rank ** 2, perTask: 0 },
    };
  },

  start(layers, given, random) {
    const bank = one.start(layers, given, random);
    for (const { name } of layers) bank.tensors.set(sharedKey(name, 'routing'), zeros([given.rank, given.rank]));
    return bank;
  },

  /** The first task starts from R_δ = I, an ordinary LoRA; later ones from 0, which leaves everything as it is. */
  begin(bank, task, given) {
    mustMatch(bank, given, ['rank', 'alpha']);
    const first = bank.tasks.length === 0;
    const tensors = new Map<string, TrainableTensor>();
    const routes = first ? toHost(identity(given.rank)) : zeros([given.rank, given.rank]);
    for (const { name } of bank.layers) {
      for (const tensor of SHARED) {
        const trained = tensor !== 'routing' && (first || !given.freezeFactorsAfterFirst);
        tensors.set(`${name}/${tensor}`, { start: tensorOf(bank, sharedKey(name, tensor)), place: 'shared', trained });
      }
      tensors.set(`${name}/routing_new`, { start: routes, place: 'shared', trained: true });
    }
    return { task, tensors, constants: new Map(), earlierTasks: bank.tasks };
  },

  apply(layer, x, base, active, given) {
    const get = (name: string) => active.get(layer.name, name) as tf.Tensor2D;
    const routing = active.has(layer.name, 'routing_new') ? tf.add(get('routing'), get('routing_new')) : get('routing');
    const z = tf.mul(tf.matMul(x, get('lora_A'), false, true), given.alpha / given.rank);
    return tf.add(base, tf.matMul(tf.matMul(z, routing, false, true), get('lora_B'), false, true));
  },

  penalty: (active, given, { earlierTasks }) =>
    meanPenalty(active, earlierTasks.length > 0 ? given.orthogonalityWeight : 0, (layer) =>
      overlap(active, layer, given.orthogonality),
    ),

  finish(bank, { task }, trained) {
    const tensors: TensorMap = new Map(bank.tensors);
    for (const { name } of bank.layers) {
      for (const tensor of ['lora_A', 'lora_B'])
        if (trained.has(`${name}/${tensor}`)) tensors.set(sharedKey(name, tensor), trained.get(`${name}/${tensor}`)!);
      const old = fromHost(tensorOf(bank, sharedKey(name, 'routing')));
      tensors.set(sharedKey(name, 'routing'), toHost(add(old, fromHost(trained.get(`${name}/routing_new`)!))));
    }
    return { ...bank, tasks: [...bank.tasks, task], tensors };
  },

  activate: tensorsOfTask,

  fold: (bank, task) =>
    foldLayers(bank, task, (layer) => {
      const [A, B, routing] = SHARED.map((tensor) => tensorOf(bank, sharedKey(layer, tensor)));
      return { A: A!, B: toHost(multiply(fromHost(B!), fromHost(routing!))) };
    }),
};

const SHARED = ['lora_A', 'lora_B', 'routing'] as const;

/**
 * How far old and new routes share directions, one layer: ‖(B R_old)ᵀ (B R_δ)‖²_F over outputs, ‖(R_old A) (R_δ A)ᵀ‖²_F
 * over inputs. No gradient flows through the old side.
 */
export function overlap(active: Active, layer: string, kind: Options['orthogonality']): tf.Tensor {
  const get = (name: string) => active.get(layer, name) as tf.Tensor2D;
  const [A, B, old, now] = [get('lora_A'), get('lora_B'), get('routing'), get('routing_new')];
  const terms: tf.Tensor[] = [];
  if (kind !== 'rows') terms.push(tf.matMul(detached(tf.matMul(B, old)), tf.matMul(B, now), true, false));
  if (kind !== 'columns') terms.push(tf.matMul(detached(tf.matMul(old, A)), tf.matMul(now, A), false, true));
  return tf.addN(terms.map((term) => tf.sum(tf.square(term))));
}
