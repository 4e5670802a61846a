import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';
import { digestOf, parseJson } from '../core/json.ts';
import { roundPlan } from '../learning/training/rounds.ts';
import { streamKeys } from '../store/generations.ts';
import { roundsOf } from '../workflows/definition-contract.ts';
import type { AveragedRound } from './average-round.ts';
import type { DataContext } from './context.ts';
import { type TrainTaskInput, trainingIdentity } from './train-task.ts';

export interface OpenRoundsInput extends TrainTaskInput {
  /** Number of training samples. */
  readonly samples: number;
}

export interface OpenedRounds {
  /** Folder of this training in the store: one sub-folder per round. */
  readonly run: string;
  /** Of each worker. */
  readonly steps: number;
  readonly rounds: number;
  /** The newest round that was averaged, by this workflow or by an earlier one that was cancelled; null at the start. */
  readonly last: AveragedRound | null;
}

const RECORD = /\/(\d{5})\/averaged\/[0-9a-f]{64}\.json$/;

export const roundFolder = (run: string, round: number) => `${run}/${String(round).padStart(5, '0')}`;

/** Says how many rounds a training takes and where it goes on. Refuses plans that cannot be carried, before any GPU works. */
export async function openRounds(context: DataContext, input: OpenRoundsInput): Promise<OpenedRounds> {
  const { definition, task, samples } = input;
  const rounds = roundsOf(definition.training)!;
  const plan = roundPlan(samples, definition.training, rounds);
  const most = DEFAULTS['limits.workerRounds'].value;
  if (plan.rounds * rounds.workers > most) {
    const problem = `${plan.rounds} rounds of ${rounds.workers} workers are more than the ${most} that one workflow carries`;
    throw new LiloraError('BadConfig', `Task ${task}: ${problem}. Raise training.roundSteps in a new stream.`);
  }
  const identity = digestOf(trainingIdentity(context, input)).slice(0, 16);
  const run = `${streamKeys(definition.name).task(task)}/rounds/${identity}`;
  let newest: string | null = null;
  for await (const { key } of context.store.list(`${run}/`)) if (RECORD.test(key)) newest = key; // in order of rounds
  const last = newest === null ? null : (parseJson((await context.store.get(newest)).bytes, newest) as AveragedRound);
  return { run, ...plan, last };
}
