import { DEFAULTS } from '../core/defaults.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';
import { canonicalJson, digestOf, parseJson } from '../core/json.ts';
import { readGeneration, readHead, streamKeys } from '../store/generations.ts';
import { newestFirst, type ObjectStore } from '../store/object-store.ts';
import type { FileRef, LearnedTask, ResolvedStream } from '../workflows/contract.ts';
import type { DriftMeasurement, DriftWatchInput, FreshTests } from '../workflows/schedule-contract.ts';
import { datasetsUnder } from './catalogue.ts';
import type { DataContext } from './context.ts';
import { readEvaluation } from './evaluation-file.ts';
import { readLines } from './json-lines.ts';

/** Earlier measurements that a watch shows. */
const SHOWN = 10;

/**
 * The newest fresh dataset of every task that has one: it is named like the task and is not what the task learned.
 * Null before anything is published. Reads the store alone: the stream need not run.
 */
export async function findFreshTests(
  context: DataContext,
  { stream, prefix, limit }: Omit<DriftWatchInput, 'schema'>,
): Promise<FreshTests | null> {
  const { store } = context;
  const key = streamKeys(stream).definition;
  if (!(await store.head(key)))
    throw new LiloraError('NotFound', `There is no stream ${stream}. See \`lilora status\`.`);
  const definition = parseJson((await store.get(key)).bytes, key) as ResolvedStream;
  const head = await readHead(store, stream);
  if (!head) return null;
  const generation = await readGeneration(store, stream, head.generation, head.manifestDigest);
  const { learned, matrix, predictions, sampled = [] } = await readEvaluation(store, generation);
  const digests = new Set(learned.map(({ dataset }) => dataset.digest));
  const candidates = (await datasetsUnder(context, prefix)).filter(({ digest }) => !digests.has(digest));
  const fresh: FreshTests['fresh'][number][] = [];
  for (const [j, task] of learned.entries()) {
    const newest = candidates.findLast(({ name }) => name === task.task);
    if (!newest) continue;
    const { uri, digest, modified } = newest;
    fresh.push({
      learned: task,
      dataset: { uri, digest, modified: modified.toISOString() },
      published: matrix.rows.at(-1)![j]!,
      count:
        sampled.find((each) => each.task === task.task)?.count ?? (await countOf(context, task, predictions[j]!.file)),
    });
  }
  return {
    definition,
    generation: head.generation,
    bank: generation.file('bank.safetensors'),
    fresh,
    history: (await history(store, stream)).slice(0, SHOWN),
    limit: limit ?? DEFAULTS['drift.limit'].value,
    standardErrors: DEFAULTS['drift.standardErrors'].value,
  };
}

/** Over how many samples a published score is; null when nobody knows any more. */
async function countOf(context: DataContext, { samples }: LearnedTask, predictions: FileRef): Promise<number | null> {
  if (samples !== undefined) return samples;
  try {
    return (await readLines(context, predictions)).length;
  } catch (error) {
    if (isLiloraError(error, 'NotFound')) return null;
    throw error;
  }
}

/** Keeps measurements: each once, the same again changes nothing. Compaction removes old ones. */
export async function recordDrift(
  { store }: DataContext,
  { stream, measured }: { stream: string; measured: readonly DriftMeasurement[] },
): Promise<void> {
  for (const measurement of measured) {
    const { task, generation, dataset, published, now } = measurement;
    const digest = digestOf({ task, generation, dataset: dataset.digest, published, now });
    await store.create(`${streamKeys(stream).drift}${digest}.json`, Buffer.from(canonicalJson(measurement)));
  }
}

async function history(store: ObjectStore, stream: string): Promise<DriftMeasurement[]> {
  const found: DriftMeasurement[] = [];
  for (const { key } of (await newestFirst(store, streamKeys(stream).drift)).slice(0, SHOWN))
    found.push(parseJson((await store.get(key)).bytes, key) as DriftMeasurement);
  return found;
}
