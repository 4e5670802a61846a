import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { packSplit } from '../datasets/prepared.ts';
import { openProcessor } from '../datasets/processor/processor.ts';
import { validateDataset } from '../datasets/validate.ts';
import { scorerNamed } from '../learning/evaluation/scorers.ts';
import { streamKeys } from '../store/generations.ts';
import { createOrSame } from '../store/object-store.ts';
import type { FileRef, ResolvedStream } from '../workflows/contract.ts';
import { beat, type DataContext } from './context.ts';
import { openDataset } from './dataset-place.ts';
import { modelFolder } from './model-folder.ts';
import { once } from './results.ts';

/** A dataset as training reads it: immutable, whole, checked. */
export interface PreparedDataset {
  readonly metric: string;
  readonly train: FileRef;
  readonly test: FileRef;
  readonly counts: Readonly<Record<string, number>>;
}

/**
 * Verifies a dataset with every digest, refuses bad input by name, and packs each split into one object. From here on
 * nothing depends on the dataset's own files: they may be overwritten or deleted.
 */
export async function fetchDataset(
  context: DataContext,
  input: { stream: string; definition: ResolvedStream; task: string; dataset: { uri: string; digest: string } },
): Promise<PreparedDataset> {
  const { definition, task, dataset } = input;
  const folder = `${streamKeys(input.stream).task(task)}/prepared`;
  const identity = { dataset: dataset.digest, model: definition.model.digest, format: 1 };
  return once(context, folder, identity, async () => {
    const model = await modelFolder(context, definition.model.uri, definition.model.digest, { weights: false });
    const processor = await openProcessor(model.folder);
    const found = await validateDataset(await openDataset(context, dataset.uri), { processor });
    scorerNamed(found.manifest.metric);
    if (found.digest !== dataset.digest)
      throw new LiloraError(
        'BadDataset',
        `${dataset.uri}/dataset.json changed since it was submitted (digest ${found.digest}, not ${dataset.digest}). Submit it again.`,
      );
    const pack = async (split: 'train' | 'test'): Promise<FileRef> => {
      const bytes = packSplit(found.splits[split]!, found.images);
      const digest = sha256(bytes);
      const key = `${folder}/${split}-${digest}.safetensors`;
      await createOrSame(context.store, key, bytes);
      beat({ packed: split });
      return { key, size: bytes.length, sha256: digest };
    };
    const samples = Object.entries(found.splits).map(([name, samples]) => [name, samples!.length] as const);
    const leftOut = found.leftOut.length;
    const counts = { ...Object.fromEntries(samples), ...(leftOut > 0 && { 'left out': leftOut }) };
    return { metric: found.manifest.metric, train: await pack('train'), test: await pack('test'), counts };
  });
}
