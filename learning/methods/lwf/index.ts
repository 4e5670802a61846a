import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import { oneLora, pairsOf } from '../lora.ts';
import type { Method } from '../method.ts';
import { pairOptions } from '../ranks.ts';

const options = pairOptions.extend({
  /** Softens both answers before they are compared. */
  temperature: z.number().positive().default(DEFAULTS['lwf.temperature'].value),
  /** Of the divergence from the previous adapter's answers; 0 leaves it out. */
  weight: z.number().min(0).default(DEFAULTS['lwf.weight'].value),
});
type Options = z.output<typeof options>;

const one = oneLora<Options>('lwf');

/** One LoRA that trains on and, on the new data, keeps to what it would have answered before (arXiv 1606.09282). */
export const lwf: Method<Options> = {
  ...one,
  title: 'LwF: one adapter, kept to its earlier answers on new data',
  paper: 'arXiv:1606.09282',
  options,

  begin(bank, task, options) {
    const begun = one.begin(bank, task, options);
    const { temperature, weight } = options;
    if (bank.tasks.length === 0 || weight === 0) return begun;
    return { ...begun, teacher: { tensors: pairsOf(bank), temperature, weight } };
  },
};
