import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { streamKeys } from '../store/generations.ts';
import type { FileRef, ResolvedStream } from '../workflows/contract.ts';
import { beat, cancellation, type GpuContext, localFile, storeFile } from './context.ts';
import type { ConsolidateResult } from './engine.ts';
import { engineModel } from './model-folder.ts';
import { once } from './results.ts';

export interface RegularizeSharedInput {
  readonly definition: ResolvedStream;
  /** The bank that is published now. */
  readonly before: FileRef;
  /** The bank as training left it. */
  readonly after: FileRef;
  readonly task: string;
  /** For the refit of the new task, when the shared factors were moved back. */
  readonly train: FileRef;
  /** 0: the ordinary step; up to 1: share of the way back to the old shared factors. */
  readonly strength: number;
}

export interface Regularized {
  readonly bank: FileRef;
  readonly drift: ConsolidateResult['drift'];
}

/** The step that protects earlier tasks: re-expresses them in the shared factors as they are now, or moves those back. */
export async function regularizeShared(context: GpuContext, input: RegularizeSharedInput): Promise<Regularized> {
  const { definition, task, strength } = input;
  const folder = streamKeys(definition.name).task(task);
  const inputs = {
    code: context.codeVersion,
    method: definition.method,
    training: definition.training,
    before: input.before.sha256,
    after: input.after.sha256,
    data: input.train.sha256,
    seed: definition.seed,
    strength,
  };
  return once(context, `${folder}/regularized`, inputs, async () => {
    const out = await mkdtemp(join(tmpdir(), 'lilora-regularize-'));
    try {
      const [model, before, after, samples] = await Promise.all([
        engineModel(context, definition),
        localFile(context, input.before),
        localFile(context, input.after),
        localFile(context, input.train),
      ]);
      const { method, targets, training, seed } = definition;
      const result = await context.engine.run(
        'consolidate',
        { model, method, targets, task, before, after, strength, samples, training, seed, out },
        { signal: cancellation(context), onProgress: beat },
      );
      return { bank: await storeFile(context, `${folder}/banks`, result.bank, '.safetensors'), drift: result.drift };
    } finally {
      await rm(out, { recursive: true, force: true });
    }
  });
}
