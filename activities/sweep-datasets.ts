import { Context } from '@temporalio/activity';
import { WorkflowNotFoundError } from '@temporalio/client';
import { DEFAULTS } from '../core/defaults.ts';
import { isLiloraError, type LiloraError } from '../core/errors.ts';
import { canonicalJson, parseJson } from '../core/json.ts';
import { headGeneration, readHead, streamKeys } from '../store/generations.ts';
import {
  QUERIES,
  type StreamDescription,
  type Submission,
  type SubmitTask,
  streamWorkflowId,
  UPDATES,
} from '../workflows/contract.ts';
import type { FoundDataset, FoundDatasets, SweepInput, SweptDataset } from '../workflows/schedule-contract.ts';
import { askStream, notRunning } from './ask-stream.ts';
import { datasetsUnder } from './catalogue.ts';
import type { DataContext } from './context.ts';
import { readEvaluation } from './evaluation-file.ts';
import type { RemovalRecord } from './remove-task.ts';

/**
 * Datasets under a prefix that are new to a stream, oldest first. Known is what it learned, what is in its queue or in
 * its history, what a removed task learned, and every version that a sweep ever submitted, whatever became of it: a
 * refused one is not tried again.
 */
export async function findDatasets(
  context: DataContext,
  { stream, prefix, limit = DEFAULTS['sweep.limit'].value }: Omit<SweepInput, 'schema'>,
): Promise<FoundDatasets> {
  const known = await knownDigests(context, stream);
  const datasets = await datasetsUnder(context, prefix);
  const fresh = new Map<string, FoundDataset>(); // a dataset may lie in two places
  for (const { uri, digest, modified } of datasets)
    if (!known.has(digest) && !fresh.has(digest)) fresh.set(digest, { uri, digest, modified: modified.toISOString() });
  return {
    fresh: [...fresh.values()].slice(0, limit),
    left: Math.max(0, fresh.size - limit),
    known: datasets.filter(({ digest }) => known.has(digest)).length,
  };
}

async function knownDigests({ store }: DataContext, stream: string): Promise<Set<string>> {
  const handle = Context.current().client.workflow.getHandle(streamWorkflowId(stream));
  const running = await handle.describe().then(
    ({ status }) => status.name === 'RUNNING',
    (error) => {
      if (error instanceof WorkflowNotFoundError) return false;
      throw error;
    },
  );
  if (!running) throw notRunning(stream);
  const { tasks } = await handle.query<StreamDescription>(QUERIES.describe);
  const known = new Set(tasks.map(({ datasetDigest }) => datasetDigest));
  const head = await readHead(store, stream);
  if (head) {
    const { learned } = await readEvaluation(store, await headGeneration(store, stream, head));
    for (const { dataset } of learned) known.add(dataset.digest);
  }
  const { swept, removals } = streamKeys(stream);
  for await (const { key } of store.list(swept)) known.add(key.slice(swept.length).replace(/\.json$/, ''));
  for await (const { key } of store.list(removals)) {
    const { dataset } = parseJson((await store.get(key)).bytes, key) as Pick<RemovalRecord, 'dataset'>;
    if (dataset !== undefined) known.add(dataset);
  }
  return known;
}

/** Submits one dataset and remembers what the stream answered. A stream that does not run is `NotFound`. */
export async function submitDataset(
  { store }: DataContext,
  { stream, dataset }: { stream: string; dataset: FoundDataset },
): Promise<SweptDataset> {
  const { uri, digest } = dataset;
  const { workflowExecution } = Context.current().info;
  // The same for every attempt of this run; a later run may ask again, should this one end before it could remember.
  const id = `submit-${digest.slice(0, 16)}-${workflowExecution!.runId}`;
  let swept: SweptDataset;
  try {
    const answer = await askStream<Submission, SubmitTask>(stream, UPDATES.submitTask, { dataset: uri }, id);
    if (!answer) throw notRunning(stream);
    const { task, status, duplicate } = answer;
    swept = { uri, digest, task, status, duplicate };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    swept = { uri, digest, task: null, status: 'refused', duplicate: false, message: error.message };
  }
  await store.create(`${streamKeys(stream).swept}${digest}.json`, Buffer.from(canonicalJson(swept)));
  return swept;
}

/** The dataset is at fault, or its name is taken: asking again would not help. */
const isRefusal = (error: unknown): error is LiloraError =>
  isLiloraError(error, 'BadDataset') || isLiloraError(error, 'Conflict');
