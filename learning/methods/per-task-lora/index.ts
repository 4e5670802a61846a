import type { z } from 'zod';
import { mustMatch, ownKey, tensorOf, tensorsOfTask, withTask } from '../bank.ts';
import { applyPair, foldLayers, freshPair, PAIR, pairParameters } from '../lora.ts';
import type { Method, TrainableTensor } from '../method.ts';
import { type LoraOptions, mustMatchLayers, pairOptions, rankOf, SHAPING } from '../ranks.ts';
import { startLikeSimilar, startOptions } from '../similar.ts';

const options = pairOptions.safeExtend(startOptions);
type Options = z.output<typeof options>;

/** One LoRA per task, nothing shared: the upper bound of LiLoRA ("DirLoRA" in the paper), at several times its size. */
export const perTaskLora: Method<Options> & Pick<Method<LoraOptions>, 'describe' | 'begin'> = {
  name: 'per-task-lora',
  title: 'Per-task LoRA: an adapter of its own for every task',
  paper: 'arXiv:2106.09685',
  options,
  needsTask: true,

  describe: (layers, options) => ({
    shared: [],
    perTask: PAIR,
    frozenAfterTask: PAIR,
    parameters: { shared: 0, perTask: pairParameters(layers, options) },
  }),

  start(layers, options) {
    mustMatchLayers(layers, options);
    return { method: 'per-task-lora', options, layers, tasks: [], tensors: new Map() };
  },

  measures: ({ startFrom }) => startFrom === 'similar',
  before: (bank, task, given, probe) => startLikeSimilar(bank, task, given, probe, tensorsOfTask),

  begin(bank, task, options, random) {
    mustMatch(bank, options, SHAPING);
    const tensors = new Map<string, TrainableTensor>();
    for (const layer of bank.layers)
      for (const [name, fresh] of Object.entries(freshPair(layer, rankOf(options, layer.name), random))) {
        const start = bank.tensors.get(ownKey(task, layer.name, name)) ?? fresh;
        tensors.set(`${layer.name}/${name}`, { start, place: 'own', trained: true });
      }
    return { task, tensors, constants: new Map(), earlierTasks: bank.tasks };
  },

  apply: applyPair,

  finish: withTask,
  activate: tensorsOfTask,

  fold: (bank, task) =>
    foldLayers(bank, task, (layer) => ({
      A: tensorOf(bank, ownKey(task, layer, 'lora_A')),
      B: tensorOf(bank, ownKey(task, layer, 'lora_B')),
    })),
};
