import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { LiloraError } from '../core/errors.ts';
import { fetchHubModel, hubModel, hubOf } from '../store/hub.ts';
import { LiveLine } from './output.ts';

/** Whether a model is to be fetched from a hub: by `hf://`, or by `org/name` when there is no such folder here. */
export async function isOnHub(model: string): Promise<boolean> {
  if (model.startsWith('hf://')) return true;
  return hubModel(model) !== null && !(await stat(model).catch(() => null));
}

/** A base model that a person names, as a local folder: one of this machine, or one of a hub, which is fetched first. */
export async function localModel(model: string, { weights }: { readonly weights: boolean }): Promise<string> {
  if (!(await isOnHub(model))) return resolve(model);
  const wanted = hubModel(model);
  if (!wanted)
    throw new LiloraError('BadConfig', `${model} is no model of a hub. Write hf://org/name or hf://org/name@revision.`);
  const { cacheFolder } = await import('../workers/config.ts');
  const live = new LiveLine();
  try {
    const { folder } = await fetchHubModel(hubOf(), wanted, {
      cache: join(cacheFolder(), 'hub'),
      weights,
      onProgress: (done, total) =>
        live.update(`fetching ${wanted.id}`, `${mebibytes(done)} of ${mebibytes(total)} MiB`),
    });
    return folder;
  } finally {
    live.end();
  }
}

const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
