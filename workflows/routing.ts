import type { Evaluated } from '../activities/evaluate-task.ts';
import type { EvaluatedRouted } from '../activities/routing.ts';
import { gpuActivities } from './activities.ts';
import type { FileRef, LearnedTask, ResolvedStream } from './contract.ts';
import { type Test, testOf } from './evaluation.ts';
import type { RouterName } from './routing-contract.ts';

/** What a generation gets of its stream's router. */
export interface Routed {
  readonly router: RouterName;
  /** Of the new task. */
  readonly statistics: FileRef;
  /** Of every task, in the order of learning. */
  readonly tasks: readonly EvaluatedRouted[];
}

/**
 * Adds a task to the router of a stream, then evaluates every task as if nobody named it.
 * @param own the new task
 * @param evaluations of every task with the task given, on the same bank
 */
export async function routeTasks(
  definition: ResolvedStream,
  router: RouterName,
  bank: FileRef,
  learned: readonly LearnedTask[],
  own: Test & { readonly train: FileRef },
  evaluations: readonly Evaluated[],
): Promise<Routed> {
  const { task, train } = own;
  const { statistics } = await gpuActivities(definition).routingStatistics({ definition, task, train });
  const tasks = [
    ...learned.map(({ task: name, routing }) => ({ task: name, statistics: routing! })),
    { task, statistics },
  ];
  const gpu = gpuActivities(definition, definition.evaluationQueue);
  const evaluated = await Promise.all(
    [...learned.map((earlier) => testOf(earlier, definition)), own].map((tested, j) => {
      const { task: name, test, metric, samples, sample } = tested;
      const { count, predictions } = evaluations[j]!;
      return gpu.evaluateRouted({
        ...{ definition, bank, task: name, test, metric, router, tasks, predictions },
        // The whole split may have been evaluated before: then there are answers to all of it.
        ...(sample && count !== samples && { sample }),
      });
    }),
  );
  return { router, statistics, tasks: evaluated };
}
