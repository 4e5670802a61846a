import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import { freshStart, oneLora } from '../lora.ts';
import type { Method } from '../method.ts';
import { pairOptions } from '../ranks.ts';
import { withoutConflicts } from './projection.ts';

const options = pairOptions.extend({
  /** `joint`: anew on all data, the gradients of all tasks reconciled; `replay`: new samples against old ones beside them. */
  mode: z.enum(['joint', 'replay']).default('joint'),
  /** What is projected as one vector: every matrix by itself, or all of them. */
  granularity: z.enum(['matrix', 'global']).default('matrix'),
  /** In mode `replay`: samples of every earlier task. */
  perTask: z.number().int().positive().default(DEFAULTS['replay.perTask'].value),
});
type Options = z.output<typeof options>;

const one = oneLora<Options>('ortho-lora');

/** One LoRA on several tasks at once, their gradients freed of conflicts matrix by matrix (arXiv 2601.09684). */
export const orthoLora: Method<Options> = {
  ...one,
  title: 'Ortho-LoRA: one adapter, conflicting gradients made orthogonal',
  paper: 'arXiv:2601.09684',
  options,

  begin(bank, task, options, random) {
    const begun = one.begin(bank, task, options);
    return options.mode === 'joint' ? { ...begun, tensors: freshStart(bank.layers, options, random) } : begun;
  },

  rehearsal: ({ mode, perTask }) =>
    mode === 'joint'
      ? { perTask: 'all', place: 'mixed', groups: 'tasks' }
      : { perTask, place: 'beside', groups: 'age' },

  reconcile: (gradients, { granularity }) => withoutConflicts(gradients, granularity),
};
