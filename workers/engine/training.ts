import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EngineHooks, EngineProgress, TrainJob } from '../../activities/engine.ts';
import { readWhole } from '../../core/files.ts';
import { readBank } from '../../learning/methods/bank.ts';
import type { Bank } from '../../learning/methods/method.ts';
import { methodNamed } from '../../learning/methods/registry.ts';
import { selectLayers } from '../../learning/methods/targets.ts';
import type { BaseModel } from '../../learning/model/model.ts';
import type { TrainTask } from '../../learning/training/train.ts';

/**
 * A training job as learning takes it, its hooks bound, with a log of every step that is written at the end.
 * @param begun the bank that training began with, when it is at hand
 */
export async function trainingOf(
  job: TrainJob,
  model: BaseModel,
  { samples, rehearsed, features }: Pick<TrainTask, 'samples' | 'rehearsed' | 'features'>,
  hooks: EngineHooks,
  begun?: Bank,
): Promise<{ run: TrainTask; writeLog: () => Promise<string> }> {
  const { task, training, seed, identity, checkpointSeconds, out } = job;
  const method = methodNamed(job.method.name);
  const lines: string[] = [];
  let told: EngineProgress = { step: 0, steps: 0, loss: null };
  const tell = (progress: EngineProgress) => {
    told = progress;
    hooks.onProgress(progress);
  };
  const run: TrainTask = {
    ...{ model, method, samples, rehearsed, features, task, training, seed, identity, checkpointSeconds },
    options: method.options.parse(job.method.options),
    layers: selectLayers(model.layers, job.targets),
    bank: begun ?? (job.bank ? readBank(await readWhole(job.bank), job.bank) : null),
    resume: job.resume ? await readWhole(job.resume) : undefined,
    signal: hooks.signal,
    onProgress: (progress) => {
      lines.push(JSON.stringify(progress));
      tell({ step: progress.step, steps: progress.steps, loss: progress.loss });
    },
    // Only told while the method looks at data.
    onAlive: () => tell({ ...told, measuring: true }),
    onCheckpoint: async (bytes, step) => {
      await hooks.onCheckpoint?.(await writeInto(out, 'checkpoint.safetensors', bytes), step);
    },
  };
  return { run, writeLog: () => writeInto(out, 'metrics.jsonl', `${lines.join('\n')}\n`) };
}

/** Says in the engine's log when steps are not compiled: they take longer then. */
export function tellEager(why: string | null): void {
  if (why) process.stderr.write(`training ran operation by operation: ${why}\n`);
}

/** Writes a file into a folder and gives its path. */
export async function writeInto(folder: string, name: string, content: Uint8Array | string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}
