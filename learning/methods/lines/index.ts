import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { ownKey, sharedKey, tensorOf } from '../bank.ts';
import { oneLora, PAIR, pairsOf } from '../lora.ts';
import type { Bank, Method, Probe } from '../method.ts';
import { pairOptions } from '../ranks.ts';
import { depthFactors, towards } from './scaling.ts';

const share = z.number().min(0).max(1);

const options = pairOptions.extend({
  /** Values of α that are tried, with β = 1 − α: the deepest block keeps what it learned. 1 is tried in any case. */
  alphas: z.array(share).default([...DEFAULTS['lines.alphas'].value]),
  /** What is scaled: the change that the last task made, or the whole LoRA. */
  reference: z.enum(['previous', 'base']).default(DEFAULTS['lines.reference'].value as 'previous'),
  /** Share of the training samples that are held out to choose α. */
  heldOut: share.max(0.5).default(DEFAULTS['lines.heldOut'].value),
  /** What the new task's accuracy counts where the mean of all earlier ones counts 1. */
  newWeight: z.number().positive().default(DEFAULTS['lines.newWeight'].value),
  /** Most samples of what is held out that a choice looks at. */
  validationSamples: z.number().int().positive().default(DEFAULTS['lines.validationSamples'].value),
  /** Samples of every earlier task that it looks at; 0 keeps no data of earlier tasks. */
  earlierSamples: z.number().int().min(0).default(DEFAULTS['lines.earlierSamples'].value),
});

type Options = z.output<typeof options>;

/** LiNeS, layer scaling of what was learned (arXiv 2410.17146), after every task on one LoRA that trains on. */
export const lines: Method<Options> = {
  ...oneLora<Options>('lines'),
  title: 'LiNeS: one LoRA, every update scaled by depth',
  paper: 'arXiv:2410.17146',
  options,

  describe: (layers, options) => {
    const { parameters, ...rest } = oneLora<Options>('lines').describe(layers, options);
    return { ...rest, parameters: { ...parameters, training: { shared: 0, perTask: layers.length } } };
  },

  heldOut: ({ heldOut }) => heldOut,
  rehearsal: ({ earlierSamples: perTask }) => (perTask > 0 ? { perTask, place: 'aside' } : null),

  /** Tries every α on what training did not see, and keeps the best; of equals the one that changes least. */
  async after(bank, task, options, probe, { begun }) {
    const names = bank.layers.map(({ name }) => name);
    const start = options.reference === 'base' || begun.tasks.length === 0 ? null : begun;
    const candidates = probe.heldOut > 0 ? [...new Set([1, ...options.alphas])].sort((a, b) => b - a) : [1];
    let best = { pairs: pairsOf(bank), factors: depthFactors(names, 1, 0), score: Number.NEGATIVE_INFINITY };
    for (const alpha of candidates) {
      const factors = depthFactors(names, alpha, 1 - alpha);
      const pairs = alpha === 1 ? pairsOf(bank) : scaledPairs(start, bank, factors);
      const found = candidates.length > 1 ? await score(probe, pairs, options) : 0;
      if (found > best.score) best = { pairs, factors, score: found };
    }
    const tensors: TensorMap = new Map(bank.tensors);
    for (const name of names) {
      for (const tensor of PAIR) tensors.set(sharedKey(name, tensor), best.pairs.get(`${name}/${tensor}`)!);
      const factor: HostTensor = { shape: [1], data: Float32Array.of(best.factors.get(name)!) };
      tensors.set(ownKey(task, name, 'depth_factor'), factor);
    }
    return { ...bank, tensors };
  },
};

/** The LoRA whose change since `start` (null: since the base model) is scaled by a factor per layer. */
function scaledPairs(start: Bank | null, end: Bank, factors: ReadonlyMap<string, number>): TensorMap {
  const pairs: TensorMap = new Map();
  for (const [key, tensor] of pairsOf(end)) {
    const at = key.lastIndexOf('/');
    const [layer, name] = [key.slice(0, at), key.slice(at + 1)];
    const factor = factors.get(layer)!;
    if (start) pairs.set(key, towards(tensorOf(start, sharedKey(layer, name)), tensor, factor));
    else pairs.set(key, name === 'lora_B' ? { shape: tensor.shape, data: tensor.data.map((x) => x * factor) } : tensor);
  }
  return pairs;
}

/** Accuracy on what was held out of the new task, and on what is kept of earlier ones: a loss would be ruled by the worst answers. */
async function score(
  probe: Probe,
  pairs: TensorMap,
  { newWeight, validationSamples, earlierSamples }: Options,
): Promise<number> {
  let earlier = 0;
  for (const task of probe.earlier)
    earlier += (await probe.accuracy(pairs, { task }, earlierSamples)) / probe.earlier.length;
  return newWeight * (await probe.accuracy(pairs, 'held-out', validationSamples)) + earlier;
}
