import { isLiloraError, LiloraError } from '../core/errors.ts';
import { type DatasetSource, MANIFEST_FILE } from '../datasets/source.ts';
import type { ObjectStore } from '../store/object-store.ts';
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
  return {
    describe: () => datasetFolder(uri),
    read: async (path, accept) => {
      try {
        // Whoever reads a dataset checks the digest of every file but the manifest.
        const { bytes } = await (path === MANIFEST_FILE ? place.get(path, accept) : place.getUnchecked(path, accept));
        if (Date.now() - told >= BEAT) {
          told = Date.now();
          beat({ read: path });
        }
        return bytes;
      } catch (error) {
        if (!isLiloraError(error, 'NotFound')) throw error;
        const where = `${datasetFolder(uri)}/${path}`;
        throw new LiloraError('NotFound', `${where} does not exist. Upload it, or correct the name.`, { cause: error });
      }
    },
  };
}
