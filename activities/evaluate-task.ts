import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import { readWhole } from '../core/files.ts';
import type { TestSample } from '../learning/evaluation/sample.ts';
import { scorerNamed } from '../learning/evaluation/scorers.ts';
import { activeDigest } from '../learning/methods/adapter.ts';
import { readBank } from '../learning/methods/bank.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import type { FileRef, ResolvedStream } from '../workflows/contract.ts';
import { beat, cancellation, type DataContext, type GpuContext, localFile, storeFile } from './context.ts';
import type { TestJob } from './engine.ts';
import { engineModel } from './model-folder.ts';
import { once } from './results.ts';

export interface EvaluateTaskInput {
  readonly definition: ResolvedStream;
  /** Null: the base model alone (row 0 of the matrix). */
  readonly bank: FileRef | null;
  readonly task: string;
  readonly test: FileRef;
  readonly metric: string;
  /** Samples that stand for the whole split; absent: all of it. */
  readonly sample?: TestSample;
}

export interface Evaluated {
  readonly task: string;
  /** Percent. */
  readonly score: number;
  /** Percent of answers in the required format. */
  readonly instructionFollowing: number;
  readonly count: number;
  readonly predictions: FileRef;
  /** Digest of the test split; absent in what older versions kept. */
  readonly data?: string;
  /** True when nothing had to be computed: everything that goes in was evaluated before. */
  readonly reused: boolean;
}

/** Where evaluations and their predictions are kept, by what decides them and by content. */
export const EVALUATIONS = 'cache/evaluations';
export const PREDICTIONS = 'cache/predictions';

/** What stands for a digest where there is no adapter. */
const BASE_MODEL = 'none';

/** All that decides the answers: model, active adapter, data, decoding. How they are cut into shards does not. */
export async function answersKey(context: DataContext, { definition, bank, task, test, sample }: EvaluateTaskInput) {
  const { maxNewTokens, batchSize } = definition.evaluation;
  return {
    code: context.codeVersion,
    model: definition.model.digest,
    adapter: bank ? await adapterDigest(context, bank, task) : BASE_MODEL,
    data: test.sha256,
    decoding: { maxNewTokens, batchSize },
    ...(sample && { sample }),
  };
}

/** Digests of adapters by bank and task: a bank is large, and every shard asks. */
const adapters = new LRUCache<string, string>({ max: 1000 });

/** Digest of what answers for a task. Where a method changes nothing, the base model answers. */
export async function adapterDigest(context: DataContext, bank: FileRef, task: string): Promise<string> {
  const [digest] = await adapterDigests(context, bank, [task]);
  return digest!;
}

/** Those of several tasks: the bank is read once. */
export async function adapterDigests(context: DataContext, bank: FileRef, tasks: readonly string[]): Promise<string[]> {
  const nameOf = (task: string) => `${bank.sha256}/${task}`;
  const unknown = tasks.filter((task) => !adapters.has(nameOf(task)));
  if (unknown.length > 0) {
    const local = await localFile(context, bank);
    const read = readBank(await readWhole(local), local);
    const method = methodNamed(read.method);
    for (const task of unknown)
      adapters.set(nameOf(task), method.activate(read, task).size === 0 ? BASE_MODEL : activeDigest(read, task));
  }
  return tasks.map((task) => adapters.get(nameOf(task))!);
}

/** All that decides a score. */
export async function evaluationKey(context: DataContext, input: EvaluateTaskInput) {
  const { name, version } = scorerNamed(input.metric);
  return { ...(await answersKey(context, input)), scorer: `${name}@${version}` };
}

/** Scores one task on a bank; memoised by the digest of model, active adapter, data, scorer and decoding. */
export async function evaluateTask(context: GpuContext, input: EvaluateTaskInput): Promise<Evaluated> {
  const result = await once(context, EVALUATIONS, await evaluationKey(context, input), () =>
    withTestJob(context, input, async (job) => {
      const { score, instructionFollowing, count, predictions } = await context.engine.run(
        'evaluate',
        { ...job, metric: input.metric },
        { signal: cancellation(context), onProgress: beat },
      );
      const file = await storeFile(context, PREDICTIONS, predictions, '.jsonl');
      return { score, instructionFollowing, count, predictions: file, data: input.test.sha256 };
    }),
  );
  return { task: input.task, ...result };
}

/** Sees to the files of a job, and to a folder for what it writes. */
export async function withTestJob<T>(
  context: GpuContext,
  { definition, task, test, bank, sample }: EvaluateTaskInput,
  work: (job: TestJob) => Promise<T>,
): Promise<T> {
  const out = await mkdtemp(join(tmpdir(), 'lilora-evaluate-'));
  try {
    const { method, targets, evaluation } = definition;
    const [model, samples, local] = await Promise.all([
      engineModel(context, definition),
      localFile(context, test),
      bank && localFile(context, bank),
    ]);
    const own = sample && { sample };
    return await work({ model, method, targets, task, bank: local, samples, evaluation, out, ...own });
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}
