import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { fromHost, identity, multiply, toHost } from '../../tensors/linalg.ts';
import { mustMatch, ownKey, sharedKey, tensorOf, tensorsOfTask, withTask } from '../bank.ts';
import { kaiming, zeros } from '../initial.ts';
import { foldLayers } from '../lora.ts';
import type { Method, TrainableTensor } from '../method.ts';
import { meanPenalty, moved, startsOf } from '../penalties.ts';
import { loraOptions } from '../ranks.ts';

const options = loraOptions.extend({
  /** n, the number of shared B. */
  experts: z.number().int().positive().default(DEFAULTS['mtl-lora.experts'].value),
  /** τ of the softmax over a task's weights. */
  temperature: z.number().positive().default(DEFAULTS['mtl-lora.temperature'].value),
  /** Λ of a task is a diagonal, r numbers instead of r². */
  diagonal: z.boolean().default(false),
  /** What becomes of A and all B after the first task. */
  sharedFactors: z.enum(['frozen-after-first', 'regularized']).default('frozen-after-first'),
  /** Weight of ‖A − A_start‖² + ‖B − B_start‖² where they are regularized. */
  stabilityWeight: z.number().min(0).default(DEFAULTS['mtl-lora.stabilityWeight'].value),
});
type Options = z.output<typeof options>;

const SHARED = ['lora_A', 'lora_B'] as const;
const OWN = ['lambda', 'weights'] as const;

/** MTL-LoRA (arXiv 2410.09437): ΔW_t = s · (Σ_i softmax(w_t / τ)_i B_i) Λ_t A, with A and all B_i shared. */
export const mtlLora: Method<Options> = {
  name: 'mtl-lora',
  title: 'MTL-LoRA: shared factors, a small matrix and mixing weights for each task',
  paper: 'arXiv:2410.09437',
  options,
  needsTask: true,

  describe(layers, { rank, experts, diagonal, sharedFactors }) {
    const shared = layers.reduce((sum, layer) => sum + rank * layer.in + experts * rank * layer.out, 0);
    const perTask = layers.length * ((diagonal ? rank : rank ** 2) + experts);
    const frozen = sharedFactors === 'frozen-after-first' ? SHARED : [];
    return { shared: SHARED, perTask: OWN, frozenAfterTask: [...OWN, ...frozen], parameters: { shared, perTask } };
  },

  start(layers, given, random) {
    const tensors: TensorMap = new Map();
    for (const layer of layers) {
      tensors.set(sharedKey(layer.name, 'lora_A'), kaiming([given.rank, layer.in], random.split(layer.name)));
      tensors.set(sharedKey(layer.name, 'lora_B'), zeros([given.experts, layer.out, given.rank]));
    }
    return { method: 'mtl-lora', options: given, layers, tasks: [], tensors };
  },

  begin(bank, task, given, random) {
    mustMatch(bank, given, ['rank', 'alpha', 'experts', 'temperature', 'diagonal']);
    const trained = bank.tasks.length === 0 || given.sharedFactors === 'regularized';
    const tensors = new Map<string, TrainableTensor>();
    for (const { name } of bank.layers) {
      for (const tensor of SHARED)
        tensors.set(`${name}/${tensor}`, { start: tensorOf(bank, sharedKey(name, tensor)), place: 'shared', trained });
      const own = (start: HostTensor): TrainableTensor => ({ start, place: 'own', trained: true });
      const ones = { shape: [given.rank], data: new Float32Array(given.rank).fill(1) };
      tensors.set(`${name}/lambda`, own(given.diagonal ? ones : toHost(identity(given.rank))));
      const { data } = kaiming([1, given.experts], random.split(name));
      tensors.set(`${name}/weights`, own({ shape: [given.experts], data }));
    }
    return {
      task,
      tensors,
      constants: bank.tasks.length > 0 ? startsOf(tensors) : new Map(),
      earlierTasks: bank.tasks,
    };
  },

  apply(layer, x, base, active, given) {
    const get = (name: string) => active.get(layer.name, name);
    const z = tf.mul(tf.matMul(x, get('lora_A') as tf.Tensor2D, false, true), given.alpha / given.rank);
    const turned = given.diagonal ? tf.mul(z, get('lambda')) : tf.matMul(z, get('lambda'), false, true);
    const share = tf.softmax(tf.div(get('weights'), given.temperature));
    const each = tf.reshape(get('lora_B'), [given.experts, layer.out * given.rank]);
    const B = tf.reshape(tf.matMul(tf.reshape(share, [1, given.experts]), each), [layer.out, given.rank]);
    return tf.add(base, tf.matMul(turned, B, false, true)) as tf.Tensor2D;
  },

  penalty: (active, given) => meanPenalty(active, given.stabilityWeight, (layer) => moved(active, layer, SHARED)),

  finish: withTask,
  safe: (given) => ({ ...given, sharedFactors: 'frozen-after-first' }),
  activate: tensorsOfTask,

  fold: (bank, task) =>
    foldLayers(bank, task, (layer) => {
      const [A, B] = SHARED.map((tensor) => tensorOf(bank, sharedKey(layer, tensor)));
      const [lambda, weights] = OWN.map((tensor) => tensorOf(bank, ownKey(task, layer, tensor)));
      const { temperature } = bank.options as Options;
      return { A: turnedA(lambda!, A!), B: mixed(B!, shares(weights!.data, temperature)) };
    }),
};

/** softmax(w / τ). */
function shares(weights: Float32Array, temperature: number): number[] {
  const top = Math.max(...weights);
  const powers = Array.from(weights, (w) => Math.exp((w - top) / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** Σ_i share_i B_i of B [n, out, r]. */
function mixed({ shape, data }: HostTensor, share: readonly number[]): HostTensor {
  const [, out, rank] = shape as [number, number, number];
  const size = out * rank;
  const sum = (at: number) => share.reduce((total, weight, i) => total + weight * data[i * size + at]!, 0);
  return { shape: [out, rank], data: Float32Array.from({ length: size }, (_, at) => sum(at)) };
}

/** Λ A, for a full or a diagonal Λ. */
function turnedA(lambda: HostTensor, A: HostTensor): HostTensor {
  if (lambda.shape.length === 2) return toHost(multiply(fromHost(lambda), fromHost(A)));
  const inputs = A.shape[1]!;
  return { shape: A.shape, data: A.data.map((a, at) => a * lambda.data[Math.floor(at / inputs)]!) };
}
