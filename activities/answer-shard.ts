import type { BatchRange, FileRef } from '../workflows/contract.ts';
import { beat, cancellation, type GpuContext, storeFile } from './context.ts';
import { answersKey, type EvaluateTaskInput, withTestJob } from './evaluate-task.ts';
import { once } from './results.ts';

export interface AnswerShardInput extends EvaluateTaskInput {
  readonly batches: BatchRange;
}

export interface AnsweredShard {
  /** One `Answer` (learning/evaluation) a line. */
  readonly answers: FileRef;
  readonly count: number;
  /** Digest of the test split; absent in what older versions kept. */
  readonly data?: string;
}

/** Answers some batches of a test split, for `mergeShards`; memoised, so that a lost worker costs the shard it was at. */
export async function answerShard(context: GpuContext, input: AnswerShardInput): Promise<AnsweredShard> {
  const { batches } = input;
  const key = { ...(await answersKey(context, input)), batches };
  return once(context, 'cache/answers', key, () =>
    withTestJob(context, input, async (job) => {
      const { answers, count } = await context.engine.run(
        'answer',
        { ...job, batches },
        { signal: cancellation(context), onProgress: beat },
      );
      const file = await storeFile(context, 'cache/answers', answers, '.jsonl');
      return { answers: file, count, data: input.test.sha256 };
    }),
  );
}
