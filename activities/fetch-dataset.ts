import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LiloraError } from '../core/errors.ts';
import { ImageSpool } from '../datasets/images.ts';
import { SPLIT_VERSION, writeSplit } from '../datasets/prepared.ts';
import { openProcessor } from '../datasets/processor/processor.ts';
import { checkDataset } from '../datasets/validate.ts';
import { scorerNamed } from '../learning/evaluation/scorers.ts';
import { streamKeys } from '../store/generations.ts';
import { createOrSameFrom } from '../store/object-store.ts';
import type { FileRef, ResolvedStream } from '../workflows/contract.ts';
import { beat, beating, type DataContext } from './context.ts';
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

/** Name of a folder that one fetch works in, before its random end. */
const WORK = 'fetch-';
/** Age of a folder that nobody works in any more: no attempt of `fetchDataset` is given so long. */
const ABANDONED_MS = 3 * 3600 * 1000;

/** Removes what killed workers left of their fetches. Folders in use, by this or another worker of the machine, stay. */
export async function removeAbandoned(cache: string, now = Date.now()): Promise<void> {
  const names = await readdir(cache).catch(() => []);
  for (const name of names.filter((each) => each.startsWith(WORK))) {
    const folder = join(cache, name);
    const found = await stat(folder).catch(() => null); // another worker may be removing it too
    if (found && now - found.mtimeMs > ABANDONED_MS) await rm(folder, { recursive: true, force: true });
  }
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
  const identity = { dataset: dataset.digest, model: definition.model.digest, format: SPLIT_VERSION };
  return once(context, folder, identity, async () => {
    const model = await modelFolder(context, definition.model.uri, definition.model.digest, { weights: false });
    const processor = await openProcessor(model.folder);
    await mkdir(context.cache, { recursive: true });
    const work = await mkdtemp(join(context.cache, WORK));
    const images = await ImageSpool.create(join(work, 'images'));
    try {
      const source = await openDataset(context, dataset.uri);
      const read = join(work, 'read');
      await mkdir(read);
      // Decoding and comparing say nothing on their own.
      const found = await beating(() => checkDataset(source, read, { processor, images }));
      scorerNamed(found.manifest.metric);
      if (found.digest !== dataset.digest)
        throw new LiloraError(
          'BadDataset',
          `${dataset.uri}/dataset.json changed since it was submitted (digest ${found.digest}, not ${dataset.digest}). Submit it again.`,
        );
      const pack = async (split: 'train' | 'test'): Promise<FileRef> => {
        const path = join(work, split);
        const file = await beating(() => writeSplit(path, found.splits[split]!, images, found.images));
        const key = `${folder}/${split}-${file.sha256}.safetensors`;
        await createOrSameFrom(context.store, key, path, file);
        await rm(path);
        beat({ packed: split });
        return { key, ...file };
      };
      const samples = Object.entries(found.splits).map(([name, samples]) => [name, samples!.length] as const);
      const leftOut = found.leftOut.length;
      const counts = { ...Object.fromEntries(samples), ...(leftOut > 0 && { 'left out': leftOut }) };
      return { metric: found.manifest.metric, train: await pack('train'), test: await pack('test'), counts };
    } finally {
      await images.close();
      await rm(work, { recursive: true, force: true });
    }
  });
}
