import { type AnswerShardInput, answerShard } from './answer-shard.ts';
import { type GpuContext, guardPayload, interruptible } from './context.ts';
import { type EvaluateTaskInput, evaluateTask } from './evaluate-task.ts';
import { type RegularizeSharedInput, regularizeShared } from './regularize-shared.ts';
import { type TrainTaskInput, trainTask } from './train-task.ts';

/** The activities of a gpu worker. */
export function createGpuActivities(context: GpuContext) {
  const run = async <T>(name: string, work: Promise<T>) => guardPayload(name, await interruptible(context, work));
  return {
    trainTask: (input: TrainTaskInput) => run('trainTask', trainTask(context, input)),
    regularizeShared: (input: RegularizeSharedInput) => run('regularizeShared', regularizeShared(context, input)),
    evaluateTask: (input: EvaluateTaskInput) => run('evaluateTask', evaluateTask(context, input)),
    answerShard: (input: AnswerShardInput) => run('answerShard', answerShard(context, input)),
  };
}

export type GpuActivities = ReturnType<typeof createGpuActivities>;
