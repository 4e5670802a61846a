import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Context } from '@temporalio/activity';
import { DEFAULTS } from '../core/defaults.ts';
import { digestOf } from '../core/json.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import { streamKeys } from '../store/generations.ts';
import { type FileRef, type Progress, type ResolvedStream, SIGNALS } from '../workflows/contract.ts';
import { newestCheckpoint, storeCheckpoint } from './checkpoints.ts';
import { beat, cancellation, type DataContext, type GpuContext, localFile, spentNow, storeFile } from './context.ts';
import type { EngineInfo, EngineProgress } from './engine.ts';
import { engineModel } from './model-folder.ts';
import { once } from './results.ts';

export interface TrainTaskInput {
  readonly definition: ResolvedStream;
  readonly bank: FileRef | null;
  readonly task: string;
  readonly train: FileRef;
  /** Training splits of earlier tasks, for methods that rehearse them. */
  readonly rehearsed?: ReadonlyArray<{ readonly task: string; readonly train: FileRef }>;
  /** Learn with the shared factors frozen: earlier tasks compute exactly what they computed. */
  readonly safe: boolean;
}

export interface Trained {
  readonly bank: FileRef;
  readonly metrics: FileRef;
  readonly steps: number;
  readonly seconds: number;
  readonly engine: EngineInfo;
}

/** Trains one task, from the newest intact checkpoint of an earlier attempt if there is one. */
export async function trainTask(context: GpuContext, input: TrainTaskInput): Promise<Trained> {
  const { definition, task } = input;
  const folder = streamKeys(definition.name).task(task);
  const options = trainingOptions(definition, input.safe);
  const identity = trainingIdentity(context, input);
  return once(context, `${folder}/runs`, identity, async () => {
    const checkpoints = `${folder}/checkpoints/${digestOf(identity).slice(0, 16)}`;
    const out = await mkdtemp(join(tmpdir(), 'lilora-train-'));
    const report = progressReporter();
    try {
      const [model, samples, bank, resume, rehearsed] = await Promise.all([
        engineModel(context, definition),
        localFile(context, input.train),
        input.bank && localFile(context, input.bank),
        newestCheckpoint(context, checkpoints),
        Promise.all(
          (input.rehearsed ?? []).map(async ({ task, train }) => ({ task, samples: await localFile(context, train) })),
        ),
      ]);
      const result = await context.engine.run(
        'train',
        {
          model,
          method: { name: definition.method.name, options },
          targets: definition.targets,
          task,
          bank,
          samples,
          rehearsed,
          training: definition.training,
          seed: definition.seed,
          identity,
          resume: resume?.path ?? null,
          checkpointSeconds: definition.limits.checkpointSeconds,
          out,
        },
        {
          signal: cancellation(context),
          onProgress: report,
          onCheckpoint: async (path, step) => {
            const { key, sha256 } = await storeCheckpoint(context, checkpoints, path, step);
            beat({ step, checkpoint: key, sha256 });
          },
        },
      );
      return {
        bank: await storeFile(context, `${folder}/banks`, result.bank, '.safetensors'),
        metrics: await storeFile(context, `${folder}/metrics`, result.metrics, '.jsonl'),
        steps: result.steps,
        seconds: result.seconds,
        engine: result.engine,
      };
    } finally {
      await rm(out, { recursive: true, force: true });
    }
  });
}

/** Digests of all that decides what training ends with. */
export function trainingIdentity({ codeVersion }: DataContext, input: TrainTaskInput): Record<string, string> {
  const { definition, bank, train, rehearsed, task, safe } = input;
  const { name } = definition.method;
  return {
    code: codeVersion,
    model: definition.model.digest,
    method: digestOf({ name, options: trainingOptions(definition, safe), targets: definition.targets }),
    training: digestOf(definition.training),
    bank: bank?.sha256 ?? 'none',
    data: train.sha256,
    ...(rehearsed && { rehearsed: digestOf(rehearsed.map((earlier) => [earlier.task, earlier.train.sha256])) }),
    seed: String(definition.seed),
    task,
  };
}

/** The method's options, or those of its safe mode. */
export function trainingOptions(definition: ResolvedStream, safe: boolean): Readonly<Record<string, unknown>> {
  const { name, options } = definition.method;
  return safe ? { ...options, ...methodNamed(name).safe!({ ...options }) } : options;
}

/**
 * Heartbeats every progress; tells the workflow of the first step at once, then ever more rarely, so that its history
 * stays short. A lost signal costs nothing.
 * @param more `round` and `rounds` where training goes in rounds
 * @param workers that train side by side and tell in turn
 */
export function progressReporter(
  more: Pick<Progress, 'round' | 'rounds'> = {},
  workers = 1,
): (progress: EngineProgress) => void {
  const longest = workers * DEFAULTS['worker.progressSeconds'].value;
  let last = Date.now();
  let seconds = workers;
  let stepping = false;
  return (told) => {
    const progress: Progress = { ...told, ...more };
    beat(progress);
    const first = !stepping && progress.steps > 0;
    stepping ||= first;
    if (!first && Date.now() - last < seconds * 1000) return;
    last = Date.now();
    seconds = Math.min(2 * seconds, longest);
    const { client, info } = Context.current();
    const { workflowId, runId } = info.workflowExecution!;
    const { activityId: activity, taskQueue: queue } = info;
    const spent = { activity, queue, seconds: spentNow()?.seconds ?? 0 };
    client.workflow
      .getHandle(workflowId, runId)
      .signal(SIGNALS.progress, { ...progress, spent })
      .catch(() => {});
  };
}
