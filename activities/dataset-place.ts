import { createHash } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { isLiloraError, LiloraError } from '../core/errors.ts';
import { readAt } from '../core/files.ts';
import { type DatasetSource, MANIFEST_FILE, type OpenedFile } from '../datasets/source.ts';
import { retryRead } from '../store/bodies.ts';
import type { Accept, ObjectStore } from '../store/object-store.ts';
import { beat, type DataContext } from './context.ts';

/** Splits `…/dataset.json`, or the folder that holds it, into the folder's URI and the manifest's name. */
export function datasetFolder(uri: string): string {
  return uri.replace(/\/?dataset\.json$/, '').replace(/\/+$/, '');
}

/** Milliseconds between signs of life while files come by the hundred. */
const BEAT = 1000;

/** A dataset in an object store, as readers see it. Every read is progress. */
export async function openDataset(context: Pick<DataContext, 'openPlace'>, uri: string): Promise<DatasetSource> {
  const place: ObjectStore = await context.openPlace(datasetFolder(uri));
  let told = 0;
  const tell = (path: string) => {
    if (Date.now() - told < BEAT) return;
    told = Date.now();
    beat({ read: path });
  };
  return {
    describe: () => datasetFolder(uri),
    read: (path, accept) =>
      named(uri, path, async () => {
        // Whoever reads a dataset checks the digest of every file but the manifest.
        const { bytes } = await (path === MANIFEST_FILE ? place.get(path, accept) : place.getUnchecked(path, accept));
        tell(path);
        return bytes;
      }),
    open: (path, spool, accept) =>
      named(uri, path, () => retryRead(() => spoolFile(place, path, spool, accept, () => tell(path)))),
  };
}

/** What is not there is said with its whole name. */
async function named<T>(uri: string, path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!isLiloraError(error, 'NotFound')) throw error;
    const where = `${datasetFolder(uri)}/${path}`;
    throw new LiloraError('NotFound', `${where} does not exist. Upload it, or correct the name.`, { cause: error });
  }
}

/** A copy of an object on this disk, hashed on its way; nothing else reads it, and it goes when it is closed. */
async function spoolFile(
  place: ObjectStore,
  key: string,
  path: string,
  accept: Accept = () => {},
  tell: () => void,
): Promise<OpenedFile> {
  const object = await place.open(key);
  try {
    accept(object.size);
  } catch (error) {
    object.close();
    throw error;
  }
  const hash = createHash('sha256');
  const file = await open(path, 'w+');
  const close = async () => {
    await file.close();
    await rm(path, { force: true });
  };
  try {
    let size = 0;
    for await (const chunk of object.chunks) {
      hash.update(chunk);
      await file.appendFile(chunk);
      size += chunk.byteLength;
      tell();
    }
    const slice = (start: number, end: number) => readAt(file, start, end - start, key, new Uint8Array(end - start));
    return { size, sha256: hash.digest('hex'), slice, close };
  } catch (error) {
    await close();
    throw error;
  }
}
