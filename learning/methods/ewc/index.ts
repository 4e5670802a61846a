import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { withGradient } from '../../tensors/ops.ts';
import { sharedKey, tensorOf } from '../bank.ts';
import { oneLora, PAIR, pairParameters, pairsOf } from '../lora.ts';
import type { Active, Bank, Method } from '../method.ts';
import { pairOptions } from '../ranks.ts';

const options = pairOptions.extend({
  /** λ of ½ λ Σ F (θ − θ*)². */
  weight: z.number().min(0).default(DEFAULTS['ewc.weight'].value),
  /** γ of F ← γ F + F_t: 1 adds up what all tasks need, below 1 old tasks fade. */
  decay: z.number().min(0).max(1).default(DEFAULTS['ewc.decay'].value),
  /** Samples of a task from which its Fisher information is estimated. */
  fisherSamples: z.number().int().positive().default(DEFAULTS['ewc.fisherSamples'].value),
});

type Options = z.output<typeof options>;

const fisherOf = (tensor: string) => `fisher_${tensor}`;

/** Elastic weight consolidation on one LoRA (arXiv 1612.00796; with a decay, arXiv 1805.06370). */
export const ewc: Method<Options> = {
  ...oneLora<Options>('ewc'),
  title: 'EWC: one LoRA, held where earlier tasks need it',
  paper: 'arXiv:1612.00796',
  options,

  describe(layers, options) {
    const shared = pairParameters(layers, options);
    return {
      shared: [...PAIR, ...PAIR.map(fisherOf)],
      perTask: [],
      frozenAfterTask: [],
      parameters: { shared, perTask: 0, training: { shared, perTask: 0 } },
    };
  },

  begin(bank, task, options) {
    const begun = oneLora<Options>('ewc').begin(bank, task, options);
    let constants: TensorMap | null = null;
    return {
      ...begun,
      get constants() {
        constants ??= anchors(bank);
        return constants;
      },
    };
  },

  penalty(active, { weight }, { earlierTasks }) {
    if (weight === 0 || earlierTasks.length === 0) return tf.scalar(0);
    const terms = active.layers.flatMap(({ name }) => PAIR.map((tensor) => held(active, name, tensor)));
    return tf.mul(tf.addN(terms), weight / 2);
  },

  /** The Fisher information of the task just learned joins that of the others: mean of squared gradients of single samples. */
  async after(bank, _task, { decay, fisherSamples }, probe) {
    const found = await probe.gradients(pairsOf(bank), { squared: true, samples: fisherSamples });
    const tensors: TensorMap = new Map(bank.tensors);
    for (const { name } of bank.layers)
      for (const tensor of PAIR) {
        const key = sharedKey(name, fisherOf(tensor));
        tensors.set(key, accumulate(bank.tensors.get(key), found.get(`${name}/${tensor}`)!, decay));
      }
    return { ...bank, tensors };
  },
};

/** γ F + F_t. */
function accumulate(before: HostTensor | undefined, now: HostTensor, decay: number): HostTensor {
  if (!before) return now;
  return { shape: now.shape, data: now.data.map((value, i) => decay * before.data[i]! + value) };
}

/** θ* and F of every tensor: where the task starts is where the one before ended. */
function anchors(bank: Bank): TensorMap {
  const constants: TensorMap = new Map();
  if (bank.tasks.length === 0) return constants;
  for (const { name } of bank.layers)
    for (const tensor of PAIR) {
      constants.set(`${name}/start_${tensor}`, tensorOf(bank, sharedKey(name, tensor)));
      constants.set(`${name}/${fisherOf(tensor)}`, tensorOf(bank, sharedKey(name, fisherOf(tensor))));
    }
  return constants;
}

/** Σ F (θ − θ*)² of one tensor. */
function held(active: Active, layer: string, tensor: string): tf.Scalar {
  const [start, fisher] = [active.constant(layer, `start_${tensor}`)!, active.constant(layer, fisherOf(tensor))!];
  return withGradient([active.get(layer, tensor)], (theta) => {
    const moved = tf.sub(theta, start);
    const pulled = tf.mul(fisher, moved);
    return {
      value: tf.sum(tf.mul(pulled, moved)) as tf.Scalar,
      save: [pulled],
      gradient: (dy, [pulled]) => [tf.mul(pulled!, tf.mul(dy, 2))],
    };
  });
}
