import { stat } from 'node:fs/promises';
import { sha256File } from '../core/digest.ts';
import { isLiloraError } from '../core/errors.ts';
import type { FileRef } from '../workflows/contract.ts';
import { type DataContext, localFile } from './context.ts';

/**
 * Checkpoints of one training run: `<prefix>/<step>-<sha256>.safetensors`. The name holds the digest, so a torn or a
 * foreign object is recognised, and a zombie attempt of the same run writes the same objects or harmless older ones.
 */
const NAME = /(\d{9})-([0-9a-f]{64})\.safetensors$/;
/** Older ones are deleted: two survive, in case the newest is damaged. */
const KEPT = 2;

/** Uploads a checkpoint and removes those that are no longer needed. */
export async function storeCheckpoint(
  { store }: DataContext,
  prefix: string,
  path: string,
  step: number,
): Promise<FileRef> {
  const [sha256, { size }] = await Promise.all([sha256File(path), stat(path)]);
  const key = `${prefix}/${String(step).padStart(9, '0')}-${sha256}.safetensors`;
  await store.upload(key, path);
  const older = (await list({ store } as DataContext, prefix)).slice(KEPT);
  await Promise.all(older.map((ref) => store.delete(ref.key)));
  return { key, size, sha256 };
}

/** The newest checkpoint whose bytes are what its name says, as a local file; null when there is none. */
export async function newestCheckpoint(
  context: DataContext,
  prefix: string,
): Promise<{ path: string; step: number } | null> {
  for (const ref of await list(context, prefix)) {
    try {
      return { path: await localFile(context, ref), step: ref.step };
    } catch (error) {
      if (!isLiloraError(error, 'IntegrityError') && !isLiloraError(error, 'NotFound')) throw error;
    }
  }
  return null;
}

/** Newest first. */
async function list({ store }: DataContext, prefix: string): Promise<Array<FileRef & { step: number }>> {
  const found: Array<FileRef & { step: number }> = [];
  for await (const { key, size } of store.list(`${prefix}/`)) {
    const match = NAME.exec(key);
    if (match) found.push({ key, size, sha256: match[2]!, step: Number(match[1]) });
  }
  return found.sort((a, b) => b.step - a.step);
}
