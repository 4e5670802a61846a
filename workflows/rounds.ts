import type { AveragedRound } from '../activities/average-round.ts';
import type { OpenRoundsInput } from '../activities/open-rounds.ts';
import type { Trained } from '../activities/train-task.ts';
import { data, type gpuActivities } from './activities.ts';
import type { Progress } from './contract.ts';
import { roundsOf } from './definition-contract.ts';

/**
 * Trains a task over several workers: in every round each trains its shard from the same weights, side by side on as many
 * gpu workers as there are, then the outer step moves the weights. What a round ended with is in the store: a lost worker
 * costs its part of one round, a lost or repeated workflow the round under way.
 * @param pausable runs GPU work; a pause stops it, a resume starts it again
 */
export async function trainInRounds(
  input: OpenRoundsInput,
  gpu: ReturnType<typeof gpuActivities>,
  pausable: <T>(work: () => Promise<T>) => Promise<T>,
  show: (progress: Progress) => void,
): Promise<Trained> {
  const { samples: _, ...task } = input;
  const { workers, roundSteps } = roundsOf(input.definition.training)!;
  const { run, steps, rounds, last } = await data.openRounds(input);
  let averaged: AveragedRound | null = last;
  for (let round = averaged ? averaged.round + 1 : 0; round < rounds; round++) {
    show({ step: round * roundSteps, steps, loss: null, round: round + 1, rounds });
    const from = averaged;
    const trained = await pausable(() =>
      Promise.all(
        Array.from({ length: workers }, (_, worker) =>
          gpu.trainRound({
            ...task,
            ...{ run, round, rounds, worker },
            from: from && { weights: from.weights, inner: from.inner[worker]! },
          }),
        ),
      ),
    );
    averaged = await data.averageRound({ ...task, run, round, rounds, trained, previous: from && shared(from) });
  }
  const { bank, log, seconds, engine } = averaged!;
  return { bank: bank!, metrics: log, steps, seconds, engine };
}

/** Without what is each worker's own: payloads stay short. */
const shared = ({ inner: _, ...rest }: AveragedRound) => rest;
