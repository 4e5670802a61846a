import { z } from 'zod';
import { DEFAULTS } from '../../core/defaults.ts';
import type { TensorMap } from '../../core/host-tensor.ts';
import type { Bank, Method, Probe } from './method.ts';

/** Options of methods whose tasks have tensors of their own: where those of a new task start. */
export const startOptions = {
  /** As the first task does, or where the earlier task ended that suits the new one best. */
  startFrom: z.enum(['fresh', 'similar']).default('fresh'),
  /** Training samples of the new task on which the earlier ones are tried. */
  similarSamples: z.number().int().positive().default(DEFAULTS['start.similarSamples'].value),
};

/** `Method.before`: the new task's own tensors are copies of those of the earlier task with the least loss on its samples. */
export async function startLikeSimilar(
  bank: Bank,
  task: string,
  { startFrom, similarSamples }: { readonly startFrom: 'fresh' | 'similar'; readonly similarSamples: number },
  probe: Probe,
  activate: Method['activate'],
): Promise<Bank> {
  if (startFrom === 'fresh') return bank;
  const lossOf = (adapter: TensorMap | null) => probe.loss(adapter, 'training', similarSamples);
  // Where no earlier task does better than the base model, none is similar.
  let best: { readonly loss: number; readonly task: string | null } = { loss: await lossOf(null), task: null };
  for (const earlier of bank.tasks) {
    const loss = await lossOf(activate(bank, earlier));
    if (loss < best.loss) best = { loss, task: earlier };
  }
  if (best.task === null) return bank;
  const [from, to] = [`tasks/${best.task}/`, `tasks/${task}/`];
  const own = [...bank.tensors].filter(([key]) => key.startsWith(from));
  return {
    ...bank,
    tensors: new Map([...bank.tensors, ...own.map(([key, tensor]) => [to + key.slice(from.length), tensor] as const)]),
  };
}
