import { LiloraError } from '../../core/errors.ts';
import { mustKnow } from './bank.ts';
import type { Bank } from './method.ts';
import { methodNamed } from './registry.ts';

/** A bank after one of its tasks was taken out. */
export interface Forgotten {
  readonly bank: Bank;
  /** Names of shared tensors. They were trained on the task too and may hold traces of it; empty when nothing is shared. */
  readonly traces: readonly string[];
}

/**
 * The bank without a task: its own tensors and its name are gone, all others are bit by bit as they were, so the other
 * tasks compute what they computed. `BadConfig` for methods whose one adapter was trained on all tasks: it cannot forget.
 */
export function forgetTask(bank: Bank, task: string): Forgotten {
  mustKnow(bank, task);
  const keys = [...bank.tensors.keys()];
  const traces = [
    ...new Set(keys.filter((key) => !key.startsWith('tasks/')).map((key) => key.split('/').at(-1)!)),
  ].sort();
  if (!methodNamed(bank.method).needsTask && traces.length > 0)
    throw new LiloraError(
      'BadConfig',
      `Method ${bank.method} has one adapter for all tasks, which was trained on ${task} and cannot forget it. Roll back to a generation before it, or learn the other tasks in a new stream.`,
    );
  const kept = [...bank.tensors].filter(([key]) => !key.startsWith(`tasks/${task}/`));
  return { bank: { ...bank, tasks: bank.tasks.filter((name) => name !== task), tensors: new Map(kept) }, traces };
}
