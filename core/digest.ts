import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { LiloraError } from './errors.ts';

/** Node hashes less than 2 GiB at once. */
const UPDATE_BYTES = 1 << 30;

/** SHA-256 as 64 lower-case hex digits. Strings are hashed as UTF-8. */
export function sha256(content: Uint8Array | string): string {
  const hash = createHash('sha256');
  if (typeof content === 'string') return hash.update(content).digest('hex');
  for (let at = 0; at < content.byteLength; at += UPDATE_BYTES) hash.update(content.subarray(at, at + UPDATE_BYTES));
  return hash.digest('hex');
}

/** SHA-256 of a file's bytes, read as a stream. A missing file is `NotFound`. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new LiloraError('NotFound', `${path}: no such file. Check the path.`, { cause: error });
    }
    throw error;
  }
  return hash.digest('hex');
}

/** True for a string that looks like the result of `sha256`. */
export function isSha256(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}
