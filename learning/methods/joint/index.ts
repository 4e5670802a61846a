import { freshStart, oneLora } from '../lora.ts';
import type { Method } from '../method.ts';
import { type LoraOptions, pairOptions } from '../ranks.ts';

const one = oneLora<LoraOptions>('joint');

/** One LoRA, trained anew on the data of all tasks so far whenever a task comes: the upper bound of continual learning. */
export const joint: Method<LoraOptions> = {
  ...one,
  title: 'Joint: one adapter, trained anew on all data so far',
  paper: null,
  options: pairOptions,
  begin: (bank, task, options, random) => ({
    ...one.begin(bank, task, options),
    tensors: freshStart(bank.layers, options, random),
  }),
  rehearsal: () => ({ perTask: 'all', place: 'mixed' }),
};
