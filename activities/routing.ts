import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { streamKeys } from '../store/generations.ts';
import type { FileRef, ResolvedStream } from '../workflows/contract.ts';
import type { RouterName } from '../workflows/routing-contract.ts';
import { beat, cancellation, type GpuContext, localFile, storeFile } from './context.ts';
import type { EvaluateRoutedResult, StatisticsResult } from './engine.ts';
import { adapterDigest, type EvaluateTaskInput, evaluationKey, withTestJob } from './evaluate-task.ts';
import { engineModel } from './model-folder.ts';
import { once } from './results.ts';

/** In the folder of a task: it goes with the task. */
const folderOf = (definition: ResolvedStream, task: string) => `${streamKeys(definition.name).task(task)}/routing`;

export interface StatisticsInput {
  readonly definition: ResolvedStream;
  readonly task: string;
  readonly train: FileRef;
}

export interface Statistics extends Omit<StatisticsResult, 'statistics'> {
  readonly statistics: FileRef;
}

/** Makes what the router keeps of a task. */
export async function routingStatistics(context: GpuContext, input: StatisticsInput): Promise<Statistics> {
  const { definition, task, train } = input;
  const { model, seed, evaluation } = definition;
  const { batchSize } = evaluation;
  const key = { code: context.codeVersion, model: model.digest, data: train.sha256, seed, task, batchSize };
  return once(context, folderOf(definition, task), key, async () => {
    const out = await mkdtemp(join(tmpdir(), 'lilora-routing-'));
    try {
      const [folder, samples] = await Promise.all([engineModel(context, definition), localFile(context, train)]);
      const { statistics, ...result } = await context.engine.run(
        'routingStatistics',
        { model: folder, task, samples, batchSize, seed, out },
        { signal: cancellation(context), onProgress: beat },
      );
      return {
        ...result,
        statistics: await storeFile(context, folderOf(definition, task), statistics, '.safetensors'),
      };
    } finally {
      await rm(out, { recursive: true, force: true });
    }
  });
}

export interface EvaluateRoutedInput extends EvaluateTaskInput {
  readonly bank: FileRef;
  readonly router: RouterName;
  /** Every task that it may choose. */
  readonly tasks: ReadonlyArray<{ readonly task: string; readonly statistics: FileRef }>;
  /** The answers with the task given. */
  readonly predictions: FileRef;
}

export interface EvaluatedRouted extends Omit<EvaluateRoutedResult, 'seconds'> {
  readonly task: string;
}

/** Scores one task on a bank when nobody names the task. */
export async function evaluateRouted(context: GpuContext, input: EvaluateRoutedInput): Promise<EvaluatedRouted> {
  const { definition, task, bank, router, tasks } = input;
  const key = {
    ...(await evaluationKey(context, input)),
    router,
    tasks: await Promise.all(
      tasks.map(async (each) => [each.task, each.statistics.sha256, await adapterDigest(context, bank, each.task)]),
    ),
  };
  return once(context, folderOf(definition, task), key, () =>
    withTestJob(context, input, async (job) => {
      const [predictions, files] = await Promise.all([
        localFile(context, input.predictions),
        Promise.all(
          tasks.map(async (each) => ({ task: each.task, statistics: await localFile(context, each.statistics) })),
        ),
      ]);
      const { seconds: _, ...result } = await context.engine.run(
        'evaluateRouted',
        { ...job, metric: input.metric, predictions, routing: { router, tasks: files } },
        { signal: cancellation(context), onProgress: beat },
      );
      return { task, ...result };
    }),
  );
}
