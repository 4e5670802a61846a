import type { Evaluated } from '../activities/evaluate-task.ts';
import type { EvaluatedRouted } from '../activities/routing.ts';
import { gpuActivities } from './activities.ts';
import type { FileRef, LearnedTask, ResolvedStream } from './contract.ts';
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
  own: Pick<LearnedTask, 'task' | 'test' | 'metric'> & { readonly train: FileRef },
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
    [...learned, own].map(({ task: name, test, metric }, j) =>
      gpu.evaluateRouted({
        ...{ definition, bank, task: name, test, metric, router, tasks },
        predictions: evaluations[j]!.predictions,
      }),
    ),
  );
  return { router, statistics, tasks: evaluated };
}
