import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { mustKnow, mustMatch, ownKey, tensorOf, withTask } from '../bank.ts';
import { applyPair, freshPair, loraOptions, PAIR, pairParameters } from '../lora.ts';
import type { Active, Bank, LoraPair, Method, TrainableTensor } from '../method.ts';
import { meanPenalty } from '../penalties.ts';

const options = loraOptions.extend({
  /** λ1, weight of the orthogonality of A to every earlier A. */
  orthogonalityWeight: z.number().min(0).default(DEFAULTS['o-lora.orthogonalityWeight'].value),
  /** λ2, weight of the norms of A and B. */
  normWeight: z.number().min(0).default(DEFAULTS['o-lora.normWeight'].value),
  /** Mean over entries and layers; false: the plain sums of the authors' code. */
  normalize: z.boolean().default(true),
});
type Options = z.output<typeof options>;

/**
 * O-LoRA (arXiv 2310.14152): a LoRA per task, the earlier ones frozen and all of them added up; the new A is held
 * orthogonal to every earlier A. No task id is needed.
 */
export const oLora: Method<Options> = {
  name: 'o-lora',
  title: 'O-LoRA: a LoRA per task, orthogonal to the earlier ones, all added up',
  paper: 'arXiv:2310.14152',
  options,
  needsTask: false,

  describe: (layers, { rank }) => ({
    shared: [],
    perTask: PAIR,
    frozenAfterTask: PAIR,
    parameters: { shared: 0, perTask: pairParameters(layers, rank) },
  }),

  start: (layers, given) => ({ method: 'o-lora', options: given, layers, tasks: [], tensors: new Map() }),

  begin(bank, task, given, random) {
    mustMatch(bank, given, ['rank', 'alpha']);
    const tensors = new Map<string, TrainableTensor>();
    const constants: TensorMap = new Map();
    for (const layer of bank.layers) {
      for (const [name, start] of Object.entries(freshPair(layer, given.rank, random)))
        tensors.set(`${layer.name}/${name}`, { start, place: 'own', trained: true });
      if (bank.tasks.length > 0)
        for (const [name, earlier] of Object.entries(stacked(bank, layer.name)))
          constants.set(`${layer.name}/${name}_earlier`, earlier);
    }
    return { task, tensors, constants, earlierTasks: bank.tasks };
  },

  /** In training the new pair on top of the frozen earlier ones; afterwards all of them as one pair. */
  apply(layer, x, base, active, given) {
    const y = applyPair(layer, x, base, active, given);
    const [A, B] = PAIR.map((name) => active.constant(layer.name, `${name}_earlier`) as tf.Tensor2D | undefined);
    if (!A || !B) return y;
    return applyPair(layer, x, y, { ...active, get: (_, name) => (name === 'lora_A' ? A : B) }, given);
  },

  penalty(active, given) {
    const scale = given.normalize ? 1 : active.layers.length;
    const overlaps = meanPenalty(active, given.orthogonalityWeight * scale, (layer) => overlap(active, layer, given));
    const norms = meanPenalty(active, given.normWeight * scale, (layer) =>
      tf.addN(PAIR.map((name) => tf.sqrt(tf.add(tf.sum(tf.square(active.get(layer, name))), 1e-12)))),
    );
    return tf.add(overlaps, norms);
  },

  finish: withTask,

  /** The sum of all LoRAs is one of rank T·r. */
  activate(bank, task) {
    mustKnow(bank, task);
    const pairs = bank.layers.flatMap(({ name }) =>
      Object.entries(stacked(bank, name)).map(([tensor, value]): [string, HostTensor] => [`${name}/${tensor}`, value]),
    );
    return new Map(pairs);
  },

  fold(bank, task) {
    mustKnow(bank, task);
    const { rank, alpha } = bank.options as Options;
    const pair = (name: string): LoraPair => {
      const { lora_A, lora_B } = stacked(bank, name);
      return { A: lora_A, B: lora_B };
    };
    const count = bank.tasks.length;
    const layers = new Map(bank.layers.map(({ name }) => [name, pair(name)]));
    return { rank: rank * count, alpha: alpha * count, layers };
  },
};

/** Σ_s Σ |A_s A_tᵀ| of one layer, over all earlier tasks s; each divided by r² where normalized. Null in the first task. */
export function overlap(active: Active, layer: string, given: Pick<Options, 'normalize' | 'rank'>): tf.Tensor | null {
  const earlier = active.constant(layer, 'lora_A_earlier') as tf.Tensor2D | undefined;
  if (!earlier) return null;
  const products = tf.matMul(earlier, active.get(layer, 'lora_A') as tf.Tensor2D, false, true);
  return tf.mul(tf.sum(tf.abs(products)), given.normalize ? 1 / given.rank ** 2 : 1);
}

/** All pairs of a layer as one: A one below another [T·r, in], B side by side [out, T·r]. */
function stacked(bank: Bank, layer: string): Record<(typeof PAIR)[number], HostTensor> {
  const [As, Bs] = PAIR.map((name) => bank.tasks.map((task) => tensorOf(bank, ownKey(task, layer, name))));
  const [rank, inputs] = As![0]!.shape as [number, number];
  const out = Bs![0]!.shape[0]!;
  const width = rank * bank.tasks.length;
  const A = new Float32Array(width * inputs);
  const B = new Float32Array(out * width);
  for (const [i, { data }] of As!.entries()) A.set(data, i * rank * inputs);
  for (const [i, { data }] of Bs!.entries())
    for (let row = 0; row < out; row++) B.set(data.subarray(row * rank, (row + 1) * rank), row * width + i * rank);
  return { lora_A: { shape: [width, inputs], data: A }, lora_B: { shape: [out, width], data: B } };
}
