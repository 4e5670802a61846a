import { answerShard } from './answer-shard.ts';
import { type GpuContext, guardPayload, interruptible } from './context.ts';
import { evaluateTask } from './evaluate-task.ts';
import { metered, WorkerLife } from './metering.ts';
import { regularizeShared } from './regularize-shared.ts';
import { evaluateRouted, routingStatistics } from './routing.ts';
import { trainRound } from './train-round.ts';
import { trainTask } from './train-task.ts';
import { warmModel } from './warm-model.ts';

/** The activities of a gpu worker. Each result also tells what the step used. */
export function createGpuActivities(context: GpuContext) {
  const life = new WorkerLife({ gpu: true });
  const run =
    <Input, T extends object | null>(step: (context: GpuContext, input: Input) => Promise<T>) =>
    (input: Input) =>
      metered(context, life, async (own) => guardPayload(step.name, await interruptible(own, step(own, input))));
  return {
    warmModel: run(warmModel),
    trainTask: run(trainTask),
    trainRound: run(trainRound),
    regularizeShared: run(regularizeShared),
    evaluateTask: run(evaluateTask),
    answerShard: run(answerShard),
    routingStatistics: run(routingStatistics),
    evaluateRouted: run(evaluateRouted),
  };
}

export type GpuActivities = ReturnType<typeof createGpuActivities>;
