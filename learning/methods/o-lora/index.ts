import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import { mustMatch, withTask } from '../bank.ts';
import { earlierLoras, freshPair, PAIR, pairParameters, summedLoras } from '../lora.ts';
import type { Active, Method, TrainableTensor } from '../method.ts';
import { meanPenalty } from '../penalties.ts';
import { mustMatchLayers, pairOptions, rankOf, SHAPING } from '../ranks.ts';

const options = pairOptions.extend({
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
  ...summedLoras,
  name: 'o-lora',
  title: 'O-LoRA: a LoRA per task, orthogonal to the earlier ones, all added up',
  paper: 'arXiv:2310.14152',
  options,

  describe: (layers, given) => ({
    shared: [],
    perTask: PAIR,
    frozenAfterTask: PAIR,
    parameters: { shared: 0, perTask: pairParameters(layers, given) },
  }),

  start(layers, given) {
    mustMatchLayers(layers, given);
    return { method: 'o-lora', options: given, layers, tasks: [], tensors: new Map() };
  },

  begin(bank, task, given, random) {
    mustMatch(bank, given, SHAPING);
    const tensors = new Map<string, TrainableTensor>();
    for (const layer of bank.layers)
      for (const [name, start] of Object.entries(freshPair(layer, rankOf(given, layer.name), random)))
        tensors.set(`${layer.name}/${name}`, { start, place: 'own', trained: true });
    return { task, tensors, constants: earlierLoras(bank), earlierTasks: bank.tasks };
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
};

/** Σ_s Σ |A_s A_tᵀ| of one layer, over all earlier tasks s; each divided by r² where normalized. Null in the first task. */
export function overlap(active: Active, layer: string, given: Pick<Options, 'normalize'>): tf.Tensor | null {
  const earlier = active.constant(layer, 'lora_A_earlier') as tf.Tensor2D | undefined;
  if (!earlier) return null;
  const now = active.get(layer, 'lora_A') as tf.Tensor2D;
  const products = tf.matMul(earlier, now, false, true);
  return tf.mul(tf.sum(tf.abs(products)), given.normalize ? 1 / now.shape[0] ** 2 : 1);
}
