import { freshStart, type LoraOptions, loraOptions, oneLora } from '../lora.ts';
import type { Method } from '../method.ts';

const one = oneLora<LoraOptions>('joint');

/** One LoRA, trained anew on the data of all tasks so far whenever a task comes: the upper bound of continual learning. */
export const joint: Method<LoraOptions> = {
  ...one,
  title: 'Joint: one adapter, trained anew on all data so far',
  paper: null,
  options: loraOptions,
  begin: (bank, task, options, random) => ({
    ...one.begin(bank, task, options),
    tensors: freshStart(bank.layers, options.rank, random),
  }),
  rehearsal: () => ({ perTask: 'all', place: 'mixed' }),
};
