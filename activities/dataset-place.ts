import { isLiloraError, LiloraError } from '../core/errors.ts';
import type { DatasetSource } from '../datasets/source.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { beat, type DataContext } from './context.ts';

/** Splits `…/dataset.json`, or the folder that holds it, into the folder's URI and the manifest's name. */
export function datasetFolder(uri: string): string {
  return uri.replace(/\/?dataset\.json$/, '').replace(/\/+$/, '');
}

/** A dataset in an object store, as readers see it. Every read is progress. */
export async function openDataset(context: Pick<DataContext, 'openPlace'>, uri: string): Promise<DatasetSource> {
  const place: ObjectStore = await context.openPlace(datasetFolder(uri));
  return {
    describe: () => datasetFolder(uri),
    read: async (path, accept) => {
      try {
        const { bytes } = await place.get(path, accept);
        beat({ read: path });
        return bytes;
      } catch (error) {
        if (!isLiloraError(error, 'NotFound')) throw error;
        const where = `${datasetFolder(uri)}/${path}`;
        throw new LiloraError('NotFound', `${where} does not exist. Upload it, or correct the name.`, { cause: error });
      }
    },
  };
}
