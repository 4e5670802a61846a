import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import type { TensorMap } from '../../../core/host-tensor.ts';
import { mustMatch, sharedKey, tensorOf, tensorsOfTask, withTask } from '../bank.ts';
import { kaiming, normal, zeros } from '../initial.ts';
import { pairParameters } from '../lora.ts';
import type { Method, TrainableTensor } from '../method.ts';
import { loraOptions } from '../ranks.ts';

const options = loraOptions
  .extend({
    /** E; every expert has rank / E of the rank. */
    experts: z.number().int().positive().default(DEFAULTS['moelora.experts'].value),
  })
  .refine(({ rank, experts }) => rank % experts === 0, {
    path: ['experts'],
    error: 'does not divide the rank: every expert needs the same share of it. Choose another number.',
  });
type Options = z.output<typeof options>;

const SHARED = ['lora_A', 'lora_B', 'router'] as const;

/**
 * MoELoRA of CoIN (arXiv 2403.08350): one LoRA cut into E experts, and a router that weighs them for every token:
 * y = W0 x + s · Σ_e softmax(R x)_e B_e A_e x. It trains on from task to task.
 */
export const moelora: Method<Options> = {
  name: 'moelora',
  title: 'MoELoRA: experts of one LoRA, weighed for every token, trained on and on',
  paper: 'arXiv:2403.08350',
  options,
  needsTask: false,

  describe(layers, { rank, experts }) {
    const routers = layers.reduce((sum, layer) => sum + experts * layer.in, 0);
    const parameters = { shared: pairParameters(layers, { rank }) + routers, perTask: 0 };
    return { shared: SHARED, perTask: [], frozenAfterTask: [], parameters };
  },

  start(layers, given, random) {
    const tensors: TensorMap = new Map();
    for (const layer of layers) {
      const draw = random.split(layer.name);
      tensors.set(sharedKey(layer.name, 'lora_A'), normal([given.rank, layer.in], 0.01, draw));
      tensors.set(sharedKey(layer.name, 'lora_B'), zeros([layer.out, given.rank]));
      tensors.set(sharedKey(layer.name, 'router'), kaiming([given.experts, layer.in], draw));
    }
    return { method: 'moelora', options: given, layers, tasks: [], tensors };
  },

  begin(bank, task, given) {
    mustMatch(bank, given, ['rank', 'alpha', 'experts']);
    const tensors = new Map<string, TrainableTensor>();
    for (const { name } of bank.layers)
      for (const tensor of SHARED)
        tensors.set(`${name}/${tensor}`, {
          start: tensorOf(bank, sharedKey(name, tensor)),
          place: 'shared',
          trained: true,
        });
    return { task, tensors, constants: new Map(), earlierTasks: bank.tasks };
  },

  /** The experts are parts of the rank: each token's share of an expert scales its part of A x. */
  apply(layer, x, base, active, { rank, alpha, experts }) {
    const times = (y: tf.Tensor2D, name: string) =>
      tf.matMul(y, active.get(layer.name, name) as tf.Tensor2D, false, true);
    const shares = tf.softmax(times(x, 'router'));
    const parts = Array.from({ length: experts }, (_, e) =>
      Array.from({ length: rank }, (_, i) => Number(Math.floor(i / (rank / experts)) === e)),
    );
    const z = tf.mul(times(x, 'lora_A'), tf.mul(tf.matMul(shares, tf.tensor2d(parts)), alpha / rank)) as tf.Tensor2D;
    return tf.add(base, times(z, 'lora_B'));
  },

  finish: withTask,
  activate: tensorsOfTask,
};
