import { oneLora } from '../lora.ts';
import type { Method } from '../method.ts';
import { type LoraOptions, pairOptions } from '../ranks.ts';

/** One LoRA that trains on through all tasks, unprotected ("SeqLoRA"): shows how much there is to forget. */
export const sequentialLora: Method<LoraOptions> = {
  ...oneLora('sequential-lora'),
  title: 'Sequential LoRA: one adapter, trained on and on',
  paper: 'arXiv:2106.09685',
  options: pairOptions,
};
