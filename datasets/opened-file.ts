import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { LiloraError } from '../core/errors.ts';
import { readAt } from '../core/files.ts';
import type { OpenedFile } from './source.ts';

/** Bytes that are hashed at once, between which others come to their turn. */
const PIECE = 4 * 2 ** 20;

/**
 * A plain file that stays where it is, read through one handle. It is hashed here; a file that is written to afterwards is
 * `BadDataset` as soon as a piece of it is read. The handle is closed when this fails.
 * @param name in messages
 */
export async function openedFile(handle: FileHandle, name: string): Promise<OpenedFile> {
  try {
    const before = await handle.stat();
    const { size } = before;
    const hash = createHash('sha256');
    const piece = new Uint8Array(Math.min(PIECE, size));
    for (let at = 0; at < size; at += PIECE) {
      const length = Math.min(PIECE, size - at);
      hash.update(await readAt(handle, at, length, name, piece.subarray(0, length)));
    }
    return {
      size,
      sha256: hash.digest('hex'),
      async slice(start, end) {
        const bytes = await readAt(handle, start, end - start, name, new Uint8Array(end - start));
        const now = await handle.stat();
        if (now.size === size && now.mtimeMs === before.mtimeMs) return bytes;
        throw new LiloraError('BadDataset', `${name}: it was written to while it was read. Wait, and try again.`);
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}
