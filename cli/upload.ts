import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { folderDigest } from '../activities/model-folder.ts';
import { LiloraError } from '../core/errors.ts';
import { inLanes } from '../core/lanes.ts';
import { localFolder } from '../datasets/local-folder.ts';
import { datasetVersion, readManifest } from '../datasets/manifest.ts';
import { MANIFEST_FILE } from '../datasets/source.ts';
import { MODEL_FILE } from '../store/hub.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import type { StreamDefinition } from '../workflows/contract.ts';
import { isOnHub, namedModel } from './base-model.ts';

/** Files that go up side by side. */
const LANES = 8;

export type OnFile = (done: number, total: number) => void;

const isRemote = (uri: string) => uri.includes('://');
const trimmed = (uri: string) => uri.replace(/\/+$/, '');

/**
 * A dataset as workers can reach it: a URI stays as it is; a local folder is copied into the store, the manifest last,
 * under a name that holds its digest. Going up again costs nothing.
 */
export async function reachableDataset(dataset: string, store: string, onFile: OnFile = () => {}): Promise<string> {
  if (isRemote(dataset)) return dataset;
  const folder = resolve(dataset.replace(/\/?dataset\.json$/, '') || '.');
  if (!isRemote(store)) return folder;
  const manifest = await readManifest(localFolder(folder));
  const target = `${trimmed(store)}/datasets/${manifest.name}-${datasetVersion(manifest).slice(0, 12)}`;
  await uploadFiles(
    folder,
    manifest.files.map(({ path }) => path),
    MANIFEST_FILE,
    target,
    onFile,
  );
  return target;
}

/**
 * A base model as workers can reach it, by the same rules; one of a hub is copied into any store, as caches may go. `base`
 * is what people call it, where the URI does not say so any more.
 */
export async function reachableModel(
  model: string,
  store: string,
  onFile: OnFile = () => {},
): Promise<Pick<StreamDefinition, 'model' | 'base'>> {
  const onHub = await isOnHub(model);
  if (isRemote(model) && !onHub) return { model };
  const { folder, base } = await namedModel(model, { weights: true });
  const files = (await readdir(folder).catch(() => [])).filter((name) => MODEL_FILE.test(name));
  if (!files.includes('config.json'))
    throw new LiloraError(
      'BadModel',
      `${folder} has no config.json. Name a Hugging Face model folder, an s3:// URI, or a model of the hub: org/name.`,
    );
  if (!isRemote(store) && !onHub) return { model: folder };
  const root = isRemote(store) ? trimmed(store) : resolve(store);
  const target = `${root}/models/${(await folderDigest(folder)).slice(0, 16)}`;
  await uploadFiles(
    folder,
    files.filter((name) => name !== 'config.json'),
    'config.json',
    target,
    onFile,
  );
  return { model: target, base };
}

/** Copies files and, when all are there, the one that makes them count. */
async function uploadFiles(
  folder: string,
  files: readonly string[],
  last: string,
  target: string,
  onFile: OnFile,
): Promise<void> {
  const place: ObjectStore = openStore(target);
  if (await place.head(last)) return;
  let done = 0;
  await inLanes(LANES, files, async (path) => {
    await place.upload(path, join(folder, path));
    onFile(++done, files.length + 1);
  });
  await place.upload(last, join(folder, last));
  onFile(files.length + 1, files.length + 1);
}
