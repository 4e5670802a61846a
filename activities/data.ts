import { averageRound } from './average-round.ts';
import { type DataContext, guardPayload } from './context.ts';
import { fetchDataset } from './fetch-dataset.ts';
import { inspectDataset } from './inspect-dataset.ts';
import { findEvaluation, findEvaluations, mergeShards } from './merge-shards.ts';
import { metered, WorkerLife } from './metering.ts';
import { openRounds } from './open-rounds.ts';
import { openStream } from './open-stream.ts';
import { publishGeneration } from './publish-generation.ts';
import { removeTask } from './remove-task.ts';
import { rollbackStream } from './rollback-stream.ts';
import { publishStart } from './start-bank.ts';

/** The activities that need the store but no GPU. Each result also tells what the step used. */
export function createDataActivities(context: DataContext) {
  const life = new WorkerLife({ gpu: false });
  const run =
    <Input, T extends object | null>(step: (context: DataContext, input: Input) => Promise<T>) =>
    (input: Input) =>
      metered(context, life, async (own) => guardPayload(step.name, await step(own, input)));
  return {
    openStream: run(openStream),
    inspectDataset: run(inspectDataset),
    fetchDataset: run(fetchDataset),
    findEvaluation: run(findEvaluation),
    findEvaluations: run(findEvaluations),
    mergeShards: run(mergeShards),
    openRounds: run(openRounds),
    averageRound: run(averageRound),
    publishGeneration: run(publishGeneration),
    publishStart: run(publishStart),
    rollbackStream: run(rollbackStream),
    removeTask: run(removeTask),
  };
}

export type DataActivities = ReturnType<typeof createDataActivities>;
