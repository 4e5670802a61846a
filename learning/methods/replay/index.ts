import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import { oneLora } from '../lora.ts';
import type { Method } from '../method.ts';
import { pairOptions } from '../ranks.ts';

const options = pairOptions.extend({
  /** Samples of every earlier task that are learned again; 0: none. */
  perTask: z.number().int().min(0).default(DEFAULTS['replay.perTask'].value),
});
type Options = z.output<typeof options>;

/** One LoRA that trains on through all tasks, with a few samples of every earlier one among the new. */
export const replay: Method<Options> = {
  ...oneLora<Options>('replay'),
  title: 'Replay: one adapter, a few old samples among the new',
  paper: null,
  options,
  rehearsal: ({ perTask }) => (perTask > 0 ? { perTask, place: 'mixed' } : null),
};
