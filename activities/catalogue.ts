import { sha256 } from '../core/digest.ts';
import { isLiloraError } from '../core/errors.ts';
import { inLanes } from '../core/lanes.ts';
import { datasetVersion, parseManifest } from '../datasets/manifest.ts';
import { MANIFEST_FILE } from '../datasets/source.ts';
import { checkKey, type ListedObject, type ObjectStore } from '../store/object-store.ts';
import { beat, type DataContext } from './context.ts';
import { datasetFolder } from './dataset-place.ts';
import { once } from './results.ts';

/** A dataset that lies under a prefix. */
export interface CataloguedDataset {
  readonly uri: string;
  /** When its manifest was written. */
  readonly modified: Date;
  /** Its name; null when the manifest cannot be read. */
  readonly name: string | null;
  /** Its version; of a manifest that cannot be read, the digest of its bytes. */
  readonly digest: string;
}

/** Manifests that are read side by side. */
const LANES = 16;

/**
 * All datasets under a prefix, oldest first. A folder with a `dataset.json` is one dataset, and what lies below it is
 * not looked at: images are never listed. A manifest is read once per etag.
 */
export async function datasetsUnder(context: DataContext, prefix: string): Promise<CataloguedDataset[]> {
  const root = datasetFolder(prefix);
  const place = await context.openPlace(root);
  const found: CataloguedDataset[] = [];
  await inLanes(LANES, await manifestsIn(place), async (object) => {
    const { key, etag, modified } = object;
    const uri = datasetFolder(`${root}/${key}`);
    const inputs = { uri, etag, code: context.codeVersion };
    const known = await once(context, 'cache/manifests', inputs, async () => versionOf((await place.get(key)).bytes));
    found.push({ uri, modified, name: known.name, digest: known.digest });
  });
  return found.sort((a, b) => a.modified.getTime() - b.modified.getTime() || (a.uri < b.uri ? -1 : 1));
}

async function manifestsIn(place: ObjectStore): Promise<ListedObject[]> {
  const found: ListedObject[] = [];
  let folders = [''];
  while (folders.length > 0) {
    const below: string[] = [];
    await inLanes(LANES, folders, async (folder) => {
      const level = await place.level(folder);
      beat({ looked: folder });
      const manifest = level.objects.find(({ key }) => key.split('/').at(-1) === MANIFEST_FILE);
      if (manifest) found.push(manifest);
      else below.push(...level.folders.filter(usable));
    });
    folders = below;
  }
  return found;
}

/** Names that no dataset could be read under are passed over. */
function usable(folder: string): boolean {
  try {
    checkKey(folder);
    return true;
  } catch {
    return false;
  }
}

function versionOf(bytes: Uint8Array): Pick<CataloguedDataset, 'name' | 'digest'> {
  try {
    const manifest = parseManifest(bytes);
    return { name: manifest.name, digest: datasetVersion(manifest) };
  } catch (error) {
    if (!isLiloraError(error, 'BadDataset')) throw error;
    return { name: null, digest: sha256(bytes) };
  }
}
