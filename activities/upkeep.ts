import { compactShared, compactStream, listStreams, requestCompaction, retentionSettings } from './compact.ts';
import { type DataContext, guardPayload } from './context.ts';
import { findDatasets, submitDataset } from './sweep-datasets.ts';
import { findFreshTests, recordDrift } from './watch-drift.ts';

type Run<Input, Result> = (context: DataContext, input: Input) => Promise<Result>;

/** The activities of what schedules start. They need the store but no GPU. */
export function createUpkeepActivities(context: DataContext) {
  const bind =
    <Input, Result>(run: Run<Input, Result>) =>
    async (input: Input): Promise<Result> =>
      guardPayload(run.name, await run(context, input));
  return {
    findDatasets: bind(findDatasets),
    submitDataset: bind(submitDataset),
    findFreshTests: bind(findFreshTests),
    recordDrift: bind(recordDrift),
    listStreams: bind(listStreams),
    retentionSettings: bind(retentionSettings),
    requestCompaction: bind(requestCompaction),
    compactStream: bind(compactStream),
    compactShared: bind(compactShared),
  };
}

export type UpkeepActivities = ReturnType<typeof createUpkeepActivities>;
