import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { LiloraError } from '../core/errors.ts';
import { parseJson } from '../core/json.ts';
import { defineModel, type ModelDefinition, readDefinition } from '../learning/model/registry.ts';
import { fetchHubModel, hubModel, hubOf } from '../store/hub.ts';
import { openStore } from '../store/open.ts';
import type { BaseName } from '../workflows/contract.ts';
import { LiveLine } from './output.ts';

/** Whether a model is to be fetched from a hub: by `hf://`, or by `org/name` when there is no such folder here. */
export async function isOnHub(model: string): Promise<boolean> {
  if (model.startsWith('hf://')) return true;
  return hubModel(model) !== null && !(await stat(model).catch(() => null));
}

/** A base model that a person names, as a local folder: one of this machine, or one of a hub, which is fetched first. */
export const localModel = async (model: string, how: { readonly weights: boolean }): Promise<string> =>
  (await namedModel(model, how)).folder;

/** The same, with what people call it: id and commit of the hub, or the name of the folder. */
export async function namedModel(
  model: string,
  { weights }: { readonly weights: boolean },
): Promise<{ folder: string; base: BaseName }> {
  if (!(await isOnHub(model))) return { folder: resolve(model), base: { name: nameOfFolder(resolve(model)) } };
  const wanted = hubModel(model);
  if (!wanted)
    throw new LiloraError('BadConfig', `${model} is no model of a hub. Write hf://org/name or hf://org/name@revision.`);
  const { cacheFolder } = await import('../workers/config.ts');
  const live = new LiveLine();
  try {
    const { folder, commit } = await fetchHubModel(hubOf(), wanted, {
      cache: join(cacheFolder(), 'hub'),
      weights,
      onProgress: (done, total) =>
        live.update(`fetching ${wanted.id}`, `${mebibytes(done)} of ${mebibytes(total)} MiB`),
    });
    return { folder, base: { name: wanted.id, revision: commit } };
  } finally {
    live.end();
  }
}

const nameOfFolder = (folder: string) =>
  basename(folder)
    .replace(/[^\w.-]+/g, '-')
    .slice(0, 96) || 'base';

/** What a person calls a base model: `name` or `org/name`, with `@revision` where it has one. */
export function baseNamed(text: string): BaseName {
  const [, name, revision] = /^([\w.-]+(?:\/[\w.-]+)?)(?:@([\w./-]+))?$/.exec(text) ?? [];
  if (name) return { name, ...(revision && { revision }) };
  throw new LiloraError('BadConfig', `--base-name "${text}": write org/name, a name, or either with @revision.`);
}

/** What the configuration of a model says, by its path or URI: its weights stay where they are. */
export async function definitionOf(uri: string): Promise<ModelDefinition> {
  if (!uri.includes('://')) return readDefinition(uri);
  const place = openStore(uri);
  const read = async (name: string) => {
    const file = `${uri.replace(/\/+$/, '')}/${name}`;
    return parseJson((await place.get(name)).bytes, file, { errorName: 'BadModel' });
  };
  const generation = (await place.head('generation_config.json')) ? await read('generation_config.json') : undefined;
  return defineModel(await read('config.json'), generation, `${uri}/config.json`);
}

const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
