import { type FileHandle, open } from 'node:fs/promises';
import { LiloraError } from './errors.ts';

/** One read call takes less than 2 GiB, by an old limit of the system. */
const READ_BYTES = 256 * 1024 * 1024;

/**
 * Large buffers of Node begin 16 bytes into a page. From here on they lie as TensorFlow wants tensors (64 bytes), which
 * takes them as they are then, without a copy; where that is not so, it copies.
 */
const ALIGNED = 48;

/** A file in memory, of any size: `readFile` of Node refuses 2 GiB. `NotFound` when there is none. */
export async function readWhole(path: string): Promise<Uint8Array> {
  const handle = await openFile(path);
  try {
    return await readAt(handle, 0, (await handle.stat()).size, path);
  } finally {
    await handle.close();
  }
}

/** Opens a file for reading; `NotFound` names one that is not there. */
export async function openFile(path: string): Promise<FileHandle> {
  return open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    throw new LiloraError('NotFound', `${path}: no such file. Check the path.`, { cause: error });
  });
}

/**
 * A stretch of an open file; `IntegrityError` when it ends early.
 * @param path named in messages
 * @param bytes of that length, which are filled
 */
export async function readAt(
  handle: FileHandle,
  position: number,
  length: number,
  path: string,
  bytes = new Uint8Array(new ArrayBuffer(ALIGNED + length), ALIGNED, length),
): Promise<Uint8Array> {
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, READ_BYTES), position + done);
    if (bytesRead === 0) {
      throw new LiloraError('IntegrityError', `${path}: it became shorter while it was read. Fetch it again.`);
    }
    done += bytesRead;
  }
  return bytes;
}
