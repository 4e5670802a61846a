import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULTS } from '../core/defaults.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';
import { checkSummary, type Expected } from './expected.ts';
import type { Accept, OpenObject } from './object-store.ts';

/** A Node stream of bytes as it comes from an HTTP response or a file. */
export interface ByteStream extends AsyncIterable<Uint8Array> {
  destroy(error?: Error): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

/**
 * The chunks of a body that must have `size` bytes. A silence of `idleMs` destroys it: connections that die without a
 * word would hang for ever otherwise. Leaving the loop early destroys it as well.
 */
export async function* guardedChunks(body: ByteStream, size: number, idleMs: number, what: string) {
  body.on('error', () => undefined); // it is reported by the loop, or nobody waits for it any more
  const iterator = body[Symbol.asyncIterator]();
  let received = 0;
  let finished = false;
  try {
    for (;;) {
      const next = await withinSilence(iterator.next(), idleMs, what);
      if (next.done) break;
      received += next.value.byteLength;
      if (received > size) break;
      yield next.value;
    }
    finished = received === size;
  } finally {
    if (!finished) body.destroy();
  }
  if (received !== size) {
    throw new LiloraError('StoreUnavailable', `${what}: the body ended after ${received} of ${size} bytes. Try again.`);
  }
}

async function withinSilence<T>(promise: Promise<T>, idleMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    const text = `${what}: no data for ${idleMs / 1000} s. Check the connection to the store and try again.`;
    timer = setTimeout(() => reject(new LiloraError('StoreUnavailable', text)), idleMs);
  });
  promise.catch(() => undefined);
  try {
    return await Promise.race([promise, silence]);
  } catch (error) {
    if (error instanceof LiloraError) throw error;
    if (/checksum mismatch/i.test(String((error as Error)?.message))) {
      throw new LiloraError(
        'IntegrityError',
        `${what}: the bytes do not match the store's own checksum. Write it again.`,
      );
    }
    throw new LiloraError('StoreUnavailable', `${what}: the connection broke in the middle of the body. Try again.`);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a read again, a few times and with growing pauses, as long as it fails with `StoreUnavailable`. */
export async function retryRead<T>(read: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await read();
    } catch (error) {
      if (!isLiloraError(error, 'StoreUnavailable') || attempt >= DEFAULTS['store.readAttempts'].value) throw error;
      await sleep(100 * 2 ** attempt * (0.5 + Math.random() / 2));
    }
  }
}

/** Reads once more where bytes are not the promised ones: what was damaged on its way need not be damaged in the store. */
export async function rereadDamaged<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!isLiloraError(error, 'IntegrityError')) throw error;
    return read();
  }
}

/** Reads a whole body into memory, with retries. What `accept` throws ends the read before the body comes. */
export async function readBody(
  openObject: () => Promise<OpenObject>,
  accept: Accept = () => {},
): Promise<{ bytes: Uint8Array; etag: string }> {
  return retryRead(async () => {
    const object = await openObject();
    try {
      accept(object.size);
    } catch (error) {
      object.close();
      throw error;
    }
    const bytes = new Uint8Array(object.size);
    let at = 0;
    for await (const chunk of object.chunks) {
      bytes.set(chunk, at);
      at += chunk.byteLength;
    }
    return { bytes, etag: object.etag };
  });
}

/**
 * Reads a whole body with retries, checks it, and, unless `path` is null, leaves it there: through a partial file beside
 * it, so that `path` is never seen incomplete.
 */
export async function saveBody(
  openObject: () => Promise<OpenObject>,
  path: string | null,
  expected: Expected,
  what: string,
): Promise<void> {
  const partial = path === null ? null : `${path}.${randomUUID()}.part`;
  if (path !== null) await mkdir(dirname(path), { recursive: true });
  try {
    const read = async () => {
      const file = partial === null ? null : await open(partial, 'w');
      try {
        checkSummary(await drain(await openObject(), file), expected, what);
        await file?.sync();
      } finally {
        await file?.close();
      }
    };
    await rereadDamaged(() => retryRead(read));
    if (path !== null && partial !== null) await rename(partial, path);
  } finally {
    if (partial !== null) await rm(partial, { force: true });
  }
}

async function drain(object: OpenObject, file: FileHandle | null): Promise<Required<Expected>> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of object.chunks) {
    hash.update(chunk);
    size += chunk.byteLength;
    let written = 0;
    while (file !== null && written < chunk.byteLength) written += (await file.write(chunk, written)).bytesWritten;
  }
  return { size, sha256: hash.digest('hex') };
}
