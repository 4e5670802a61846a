import { patched } from '@temporalio/workflow';
import type { Evaluated, EvaluateTaskInput } from '../activities/evaluate-task.ts';
import { data, gpuActivities, priorityOf } from './activities.ts';
import type { BatchRange, FileRef, LearnedTask, ResolvedStream } from './contract.ts';
import type { EvaluationSettings } from './definition-contract.ts';

/**
 * A test split, and what its answers are scored with. `samples` may be unknown: then it is one shard. `sample`: samples
 * that stand for all of it.
 */
export type Test = Pick<LearnedTask, 'task' | 'metric' | 'test' | 'samples'> & Pick<EvaluateTaskInput, 'sample'>;

/** How an earlier task is tested: on its whole split, or where the stream asks for it on samples that stand for it. */
export function testOf(earlier: LearnedTask, { evaluation, seed }: Pick<ResolvedStream, 'evaluation' | 'seed'>): Test {
  const { earlierSamples: count = Number.POSITIVE_INFINITY } = evaluation;
  return (earlier.samples ?? 0) > count ? { ...earlier, sample: { count, seed } } : earlier;
}

/** Shards that one evaluation may have open at once over all its tasks: a workflow may wait for 2,000 activities. */
const MOST_SHARDS = 1000;
/** Shards of one task: the references to their answers fit in one payload. */
const MOST_PER_TASK = 100;
/** Evaluations that are asked for at once: as many results fit in one payload. */
const MOST_ASKED = 100;

/**
 * Cuts a test split into shards of whole batches, as equal as they can be: batches are computed by themselves, so a cut
 * between them changes no answer.
 * @param most largest number of shards
 */
export function planShards(
  samples: number | undefined,
  { batchSize, shardSamples }: Pick<EvaluationSettings, 'batchSize' | 'shardSamples'>,
  most = MOST_PER_TASK,
): BatchRange[] {
  const batches = Math.ceil((samples ?? 1) / batchSize);
  const wanted = samples === undefined || shardSamples === undefined ? 1 : Math.ceil(samples / shardSamples);
  const shards = Math.max(1, Math.min(wanted, batches, most));
  const border = (shard: number) => Math.floor((shard * batches) / shards);
  return Array.from({ length: shards }, (_, shard) => ({ from: border(shard), to: border(shard + 1) }));
}

/**
 * Evaluates tasks on a bank over as many gpu workers as there are: every task at once, large ones in shards that are put
 * together and scored as a whole. The longest work is queued first, so that no worker is left alone with it at the end.
 * @returns in the order of the tests
 */
export async function evaluateTasks(
  definition: ResolvedStream,
  bank: FileRef | null,
  tests: readonly Test[],
  priority = priorityOf(definition),
): Promise<Evaluated[]> {
  const gpu = gpuActivities(definition, definition.evaluationQueue, priority);
  const most = Math.min(MOST_PER_TASK, Math.ceil(MOST_SHARDS / tests.length));
  const plans = tests.map(({ task, test, metric, samples, sample }) => {
    const input: EvaluateTaskInput = { definition, bank, task, test, metric, ...(sample && { sample }) };
    const size = sample?.count ?? samples;
    return { input, size: size ?? 0, shards: planShards(size, definition.evaluation, most) };
  });
  // What is known needs no GPU, and none has to be started for it.
  const known = patched('known-evaluations-at-once')
    ? await knownOf(plans.map(({ input }) => input))
    : await Promise.all(plans.map(({ input, shards }) => (shards.length > 1 ? data.findEvaluation(input) : null)));
  const work = plans.map(({ input, size, shards }, at) => {
    const run = async (): Promise<Evaluated> => {
      if (known[at]) return known[at];
      if (shards.length === 1) return gpu.evaluateTask(input);
      const answers = await Promise.all(shards.map((batches) => gpu.answerShard({ ...input, batches })));
      return data.mergeShards({ ...input, answers: answers.map((shard) => shard.answers) });
    };
    return { at, size: size / shards.length, run };
  });
  // Streams of older versions know no shards and keep their order.
  if (definition.evaluation.shardSamples !== undefined) work.sort((a, b) => b.size - a.size || a.at - b.at);
  const done = await Promise.all(work.map(async ({ at, run }) => ({ at, evaluated: await run() })));
  return done.sort((a, b) => a.at - b.at).map(({ evaluated }) => evaluated);
}

/** What was evaluated before: a task whose function did not move is not evaluated again. */
async function knownOf(inputs: readonly EvaluateTaskInput[]): Promise<Array<Evaluated | null>> {
  const known: Array<Evaluated | null> = [];
  for (let at = 0; at < inputs.length; at += MOST_ASKED) {
    const asked = inputs.slice(at, at + MOST_ASKED);
    const { definition, bank } = asked[0]!;
    const tests = asked.map(({ definition: _, bank: __, ...test }) => test);
    const { found } = await data.findEvaluations({ definition, bank, tests });
    known.push(...found);
  }
  return known;
}
