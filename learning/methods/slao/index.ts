import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import { LiloraError } from '../../../core/errors.ts';
import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { qr } from '../../tensors/decompose.ts';
import { fromHost, toHost, transpose } from '../../tensors/linalg.ts';
import { sharedKey, tensorOf, withTask } from '../bank.ts';
import { zeros } from '../initial.ts';
import { oneLora } from '../lora.ts';
import type { Method, TrainableTensor } from '../method.ts';
import { pairOptions, rankOf } from '../ranks.ts';

const options = pairOptions.extend({
  /** λ(i), the weight of the new B in the merged one after task i: 1/√i, 1/i, or `mergeWeight`. */
  mergeRule: z.enum(['inverse-root', 'inverse', 'constant']).default('inverse-root'),
  mergeWeight: z.number().min(0).max(1).default(DEFAULTS['slao.mergeWeight'].value),
  /** Where B of the next task starts. */
  startFrom: z.enum(['fine-tuned', 'merged']).default('fine-tuned'),
});
type Options = z.output<typeof options>;

const one = oneLora<Options>('slao');

/**
 * SLAO, merge before forget (arXiv 2512.23017): one LoRA. A of a task starts as an orthonormal basis of the previous A;
 * after the task A is replaced and B averaged: B ← B + λ(i) (B_i − B).
 */
export const slao: Method<Options> = {
  ...one,
  title: 'SLAO: one LoRA, merged after every task',
  paper: 'arXiv:2512.23017',
  options,

  describe(layers, given) {
    const description = one.describe(layers, given);
    const shared = layers.reduce((sum, { name, out }) => sum + rankOf(given, name) * out, 0);
    return { ...description, parameters: { ...description.parameters, training: { shared, perTask: 0 } } };
  },

  start(layers, given, random) {
    const narrow = layers.find((layer) => layer.in < rankOf(given, layer.name));
    if (narrow) {
      const problem = `${narrow.name} has ${narrow.in} inputs: no orthonormal basis of rank ${rankOf(given, narrow.name)} fits in`;
      throw new LiloraError('BadConfig', `${problem}. Lower the rank, or leave the layer out.`);
    }
    const bank = one.start(layers, given, random);
    for (const { name, out } of layers) bank.tensors.set(sharedKey(name, 'last_B'), zeros([out, rankOf(given, name)]));
    return bank;
  },

  begin(bank, task, given) {
    const begun = one.begin(bank, task, given);
    if (bank.tasks.length === 0) return begun;
    const tensors = new Map<string, TrainableTensor>();
    for (const { name } of bank.layers) {
      const from = (tensor: string) => tensorOf(bank, sharedKey(name, tensor));
      const train = (start: HostTensor): TrainableTensor => ({ start, place: 'shared', trained: true });
      tensors.set(`${name}/lora_A`, train(orthonormal(from('lora_A'))));
      tensors.set(`${name}/lora_B`, train(from(given.startFrom === 'merged' ? 'lora_B' : 'last_B')));
    }
    return { ...begun, tensors };
  },

  finish(bank, trainable, trained) {
    const given = bank.options as Options;
    const weight = mergeWeight(bank.tasks.length + 1, given);
    const result = withTask(bank, trainable, trained);
    const tensors: TensorMap = new Map(result.tensors);
    for (const { name } of bank.layers) {
      const key = sharedKey(name, 'lora_B');
      const last = tensorOf(result, key);
      tensors.set(sharedKey(name, 'last_B'), last);
      tensors.set(key, merged(tensorOf(bank, key), last, weight));
    }
    return { ...result, tensors };
  },
};

/** λ of task i, counted from 1; the first task is taken whole. */
export function mergeWeight(i: number, given: Pick<Options, 'mergeRule' | 'mergeWeight'>): number {
  if (i === 1) return 1;
  if (given.mergeRule === 'constant') return given.mergeWeight;
  return given.mergeRule === 'inverse' ? 1 / i : 1 / Math.sqrt(i);
}

/** An orthonormal basis of the rows of A [r, in]: Qᵀ of Aᵀ = Q R, with no negative number on the diagonal of R. */
export function orthonormal(A: HostTensor): HostTensor {
  return toHost(transpose(qr(transpose(fromHost(A))).Q));
}

function merged(old: HostTensor, last: HostTensor, weight: number): HostTensor {
  return { shape: old.shape, data: old.data.map((x, i) => x + weight * (last.data[i]! - x)) };
}
