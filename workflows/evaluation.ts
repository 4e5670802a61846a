import type { Evaluated, EvaluateTaskInput } from '../activities/evaluate-task.ts';
import { data, gpuActivities, priorityOf } from './activities.ts';
import type { BatchRange, EvaluationSettings, FileRef, LearnedTask, ResolvedStream } from './contract.ts';

/** A test split, and what its answers are scored with. `samples` may be unknown: then it is one shard. */
export type Test = Pick<LearnedTask, 'task' | 'metric' | 'test' | 'samples'>;

/** Shards that one evaluation may have open at once over all its tasks: a workflow may wait for 2,000 activities. */
const MOST_SHARDS = 1000;
/** Shards of one task: the references to their answers fit in one payload. */
const MOST_PER_TASK = 100;

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
  const plans = tests.map(({ task, test, metric, samples }) => {
    const input: EvaluateTaskInput = { definition, bank, task, test, metric };
    return { input, size: samples ?? 0, shards: planShards(samples, definition.evaluation, most) };
  });
  // What is known needs no GPU, and none has to be started for it.
  const known = await Promise.all(
    plans.map(({ input, shards }) => (shards.length > 1 ? data.findEvaluation(input) : null)),
  );
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
