import { readEvaluation } from '../../activities/evaluation-file.ts';
import type { TaskLineage } from '../../activities/publish-bank.ts';
import { readGeneration, readHead, streamKeys } from '../../store/generations.ts';
import { getVerified, type ObjectStore } from '../../store/object-store.ts';
import type { Matrix } from '../../workflows/contract.ts';

/** One stream that learned all its tasks. */
export interface Result {
  /** Line of the table it belongs to. */
  readonly run: string;
  readonly seed: number;
  readonly order: string;
  readonly instructions: string;
  readonly matrix: Matrix;
  readonly metrics: Readonly<Record<string, number | null>>;
  /** Sum over the steps of all tasks, by their logs. */
  readonly trainingSeconds: number;
  /** Of the bank after the last task. */
  readonly bankBytes: number;
  /** Of everything that the stream left in the store. */
  readonly storeBytes: number;
  /** Version of the code that trained, by task; one where nothing changed meanwhile. */
  readonly code: readonly string[];
}

/** A file of `bench/results`. */
export interface Results {
  readonly tasks: readonly string[];
  /** Samples of each task. */
  readonly train: number;
  readonly test: number;
  /** The commit of each code version, `-dirty` where files were changed. */
  readonly commits: Readonly<Record<string, string>>;
  readonly results: readonly Result[];
}

/** What a stream that is done left in the store. */
export async function resultOf(
  store: ObjectStore,
  stream: string,
  about: Pick<Result, 'run' | 'seed' | 'order' | 'instructions'>,
): Promise<Result> {
  const head = (await readHead(store, stream))!;
  const generation = await readGeneration(store, stream, head.generation, head.manifestDigest);
  const { matrix, metrics } = await readEvaluation(store, generation);
  const tasks = generation.manifest.lineage['tasks'] as readonly TaskLineage[];
  let trainingSeconds = 0;
  for (const { metrics: log } of tasks) {
    const lines = Buffer.from(await getVerified(store, log.key, log))
      .toString()
      .split('\n')
      .filter(Boolean);
    for (const line of lines) trainingSeconds += (JSON.parse(line) as { secondsPerStep?: number }).secondsPerStep ?? 0;
  }
  let storeBytes = 0;
  for await (const { size } of store.list(`${streamKeys(stream).root}/`)) storeBytes += size;
  return {
    ...about,
    matrix,
    metrics,
    trainingSeconds,
    bankBytes: generation.file('bank.safetensors').size,
    storeBytes,
    code: [...new Set(tasks.map(({ codeVersion }) => codeVersion))],
  };
}
