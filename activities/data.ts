import { type DataContext, guardPayload } from './context.ts';
import { fetchDataset } from './fetch-dataset.ts';
import { inspectDataset } from './inspect-dataset.ts';
import { findEvaluation, type MergeShardsInput, mergeShards } from './merge-shards.ts';
import { openStream } from './open-stream.ts';
import { type PublishInput, publishGeneration } from './publish-generation.ts';
import { rollbackStream } from './rollback-stream.ts';

type Input<F extends (context: DataContext, input: never) => unknown> = Parameters<F>[1];

/** The activities that need the store but no GPU. */
export function createDataActivities(context: DataContext) {
  return {
    openStream: async (input: Input<typeof openStream>) => guardPayload('openStream', await openStream(context, input)),
    inspectDataset: (input: Input<typeof inspectDataset>) => inspectDataset(context, input),
    fetchDataset: async (input: Input<typeof fetchDataset>) =>
      guardPayload('fetchDataset', await fetchDataset(context, input)),
    findEvaluation: (input: Input<typeof findEvaluation>) => findEvaluation(context, input),
    mergeShards: (input: MergeShardsInput) => mergeShards(context, input),
    publishGeneration: async (input: PublishInput) =>
      guardPayload('publishGeneration', await publishGeneration(context, input)),
    rollbackStream: async (input: Input<typeof rollbackStream>) =>
      guardPayload('rollbackStream', await rollbackStream(context, input)),
  };
}

export type DataActivities = ReturnType<typeof createDataActivities>;
