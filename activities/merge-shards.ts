import { sha256 } from '../core/digest.ts';
import { PackedSplit } from '../datasets/packed-split.ts';
import { allOf, someOf } from '../datasets/sample-list.ts';
import { type Answer, jsonLines, scoreAnswers } from '../learning/evaluation/evaluate.ts';
import { sampledPlaces } from '../learning/evaluation/sample.ts';
import { scorerNamed } from '../learning/evaluation/scorers.ts';
import { createOrSame } from '../store/object-store.ts';
import type { FileRef, ResolvedStream } from '../workflows/contract.ts';
import { beat, type DataContext, localFile } from './context.ts';
import {
  adapterDigests,
  EVALUATIONS,
  type Evaluated,
  type EvaluateTaskInput,
  evaluationKey,
  PREDICTIONS,
} from './evaluate-task.ts';
import { readLines } from './json-lines.ts';
import { known, once } from './results.ts';

export interface MergeShardsInput extends EvaluateTaskInput {
  /** What `answerShard` gave, for every shard. */
  readonly answers: readonly FileRef[];
}

export interface FindEvaluationsInput {
  readonly definition: ResolvedStream;
  readonly bank: FileRef | null;
  readonly tests: ReadonlyArray<Omit<EvaluateTaskInput, 'definition' | 'bank'>>;
}

/**
 * Evaluations that were computed before, in the order of the tests; null where one was not. A test of which samples would
 * do takes that of the whole split where it is known.
 */
export async function findEvaluations(
  context: DataContext,
  { definition, bank, tests }: FindEvaluationsInput,
): Promise<{ found: Array<Evaluated | null> }> {
  if (bank)
    await adapterDigests(
      context,
      bank,
      tests.map(({ task }) => task),
    );
  const found = await Promise.all(
    tests.map(async ({ sample, ...test }) => {
      const whole = { ...test, definition, bank };
      const known = await findEvaluation(context, whole);
      return known ?? (sample ? findEvaluation(context, { ...whole, sample }) : null);
    }),
  );
  return { found };
}

/** An evaluation that was computed before, in shards or as a whole. */
export async function findEvaluation(context: DataContext, input: EvaluateTaskInput): Promise<Evaluated | null> {
  const found = await known<Omit<Evaluated, 'task' | 'reused'>>(
    context,
    EVALUATIONS,
    await evaluationKey(context, input),
  );
  return found && { task: input.task, ...found };
}

/**
 * Scores a test split that several workers answered, as a whole: the result and its place are those of `evaluateTask`,
 * which computes all of it at once.
 */
export async function mergeShards(context: DataContext, input: MergeShardsInput): Promise<Evaluated> {
  const { task, test, metric, sample } = input;
  const result = await once(context, EVALUATIONS, await evaluationKey(context, input), async () => {
    const shards = await Promise.all(input.answers.map((ref) => readLines<Answer>(context, ref)));
    beat({ shards: shards.length });
    const split = await PackedSplit.open(await localFile(context, test), test.key);
    const list = sample ? someOf(split.samples, sampledPlaces(split.samples.length, sample)) : split.samples;
    const samples = await allOf(list);
    const { score, instructionFollowing, predictions } = scoreAnswers(samples, shards.flat(), scorerNamed(metric));
    const bytes = Buffer.from(jsonLines(predictions));
    const digest = sha256(bytes);
    const file = { key: `${PREDICTIONS}/${digest}.jsonl`, size: bytes.length, sha256: digest };
    await createOrSame(context.store, file.key, bytes);
    return { score, instructionFollowing, count: predictions.length, predictions: file, data: test.sha256 };
  });
  return { task, ...result };
}
