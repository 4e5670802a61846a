import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '../core/json.ts';
import { streamKeys } from '../store/generations.ts';
import type { FileRef } from '../workflows/contract.ts';
import { roundsOf } from '../workflows/definition-contract.ts';
import { newestCheckpoint, storeCheckpoint } from './checkpoints.ts';
import { beat, cancellation, type GpuContext, localFile, storeFile } from './context.ts';
import type { EngineInfo } from './engine.ts';
import { engineModel } from './model-folder.ts';
import { roundFolder } from './open-rounds.ts';
import { once } from './results.ts';
import { progressReporter, type TrainTaskInput, trainingIdentity, trainingOptions } from './train-task.ts';

export interface TrainRoundInput extends TrainTaskInput {
  /** Folder of this training in the store. */
  readonly run: string;
  /** From 0. */
  readonly round: number;
  readonly rounds: number;
  /** From 0. */
  readonly worker: number;
  /** The averaged weights and this worker's inner state; null in the first round. */
  readonly from: { readonly weights: FileRef; readonly inner: FileRef } | null;
}

/** What one worker made of one round. */
export interface WorkerRound {
  readonly weights: FileRef;
  /** Moments and position, which only this worker's next round needs. */
  readonly inner: FileRef;
  /** From worker 0 in the first round of a stream's first task: the bank that the method started. */
  readonly started: FileRef | null;
  /** From worker 0. */
  readonly log: FileRef | null;
  readonly seconds: number;
  readonly engine: EngineInfo;
}

/** Trains one worker's shard for one round, from the newest intact checkpoint of an earlier attempt if there is one. */
export async function trainRound(context: GpuContext, input: TrainRoundInput): Promise<WorkerRound> {
  const { definition, task, run, round, rounds, worker, from } = input;
  const folder = `${roundFolder(run, round)}/worker-${worker}`;
  const identity = {
    ...trainingIdentity(context, input),
    position: `round ${round}, worker ${worker}`,
    weights: from?.weights.sha256 ?? 'none',
    inner: from?.inner.sha256 ?? 'none',
  };
  return once(context, folder, identity, async () => {
    const checkpoints = `${folder}/checkpoints/${digestOf(identity).slice(0, 16)}`;
    const out = await mkdtemp(join(tmpdir(), 'lilora-round-'));
    /** Good for this round only: not kept among the downloads. */
    const fetch = async (ref: FileRef, name: string) => {
      const path = join(out, name);
      await context.store.download(ref.key, path, ref);
      return path;
    };
    try {
      const [model, samples, bank, resume, weights, inner] = await Promise.all([
        engineModel(context, definition),
        localFile(context, input.train),
        input.bank && localFile(context, input.bank),
        newestCheckpoint(context, checkpoints),
        from && fetch(from.weights, 'from-weights.safetensors'),
        from && fetch(from.inner, 'from-inner.safetensors'),
      ]);
      const { training, targets, seed, limits } = definition;
      const result = await context.engine.run(
        'trainRound',
        {
          model,
          method: { name: definition.method.name, options: trainingOptions(definition, input.safe) },
          ...{ targets, task, bank, samples, training, seed, identity, worker, round, out },
          rounds: roundsOf(training)!,
          from: weights && inner ? { weights, inner } : null,
          resume: resume?.path ?? null,
          checkpointSeconds: limits.checkpointSeconds,
        },
        {
          signal: cancellation(context),
          onProgress: progressReporter({ round: round + 1, rounds }, definition.training.workers),
          onCheckpoint: async (path, step) => {
            const { key, sha256 } = await storeCheckpoint(context, checkpoints, path, step);
            beat({ step, checkpoint: key, sha256 });
          },
        },
      );
      const keep = (path: string, suffix: string) => storeFile(context, folder, path, suffix);
      const banks = `${streamKeys(definition.name).task(task)}/banks`;
      const begun = worker === 0 && result.started;
      return {
        weights: await keep(result.weights, '.weights.safetensors'),
        inner: await keep(result.inner, '.inner.safetensors'),
        started: begun ? await storeFile(context, banks, begun, '.safetensors') : null,
        log: worker === 0 ? await keep(result.metrics, '.jsonl') : null,
        seconds: result.seconds,
        engine: result.engine,
      };
    } finally {
      await rm(out, { recursive: true, force: true });
    }
  });
}
