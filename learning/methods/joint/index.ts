import { freshPair, type LoraOptions, loraOptions, oneLora } from '../lora.ts';
import type { Method, TrainableTensor } from '../method.ts';

const one = oneLora<LoraOptions>('joint');

/** One LoRA, trained anew on the data of all tasks so far whenever a task comes: the upper bound of continual learning. */
export const joint: Method<LoraOptions> = {
  ...one,
  title: 'Joint: one adapter, trained anew on all data so far',
  paper: null,
  options: loraOptions,

  begin(bank, task, options, random) {
    const begun = one.begin(bank, task, options);
    const tensors = new Map<string, TrainableTensor>();
    for (const layer of bank.layers)
      for (const [name, start] of Object.entries(freshPair(layer, options.rank, random)))
        tensors.set(`${layer.name}/${name}`, { start, place: 'shared', trained: true });
    return { ...begun, tensors };
  },

  rehearsal: () => ({ perTask: 'all', place: 'mixed' }),
};
