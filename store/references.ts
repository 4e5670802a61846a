import { isLiloraError } from '../core/errors.ts';
import { parseJson } from '../core/json.ts';
import { inLanes } from '../core/lanes.ts';
import { readGeneration, type StoredFile, streamKeys } from './generations.ts';
import type { ListedObject, ObjectStore } from './object-store.ts';

/** Objects that are read side by side. */
const LANES = 16;

/** Names of all streams that were ever defined. */
export async function streamsIn(store: ObjectStore): Promise<string[]> {
  const { folders } = await store.level('streams');
  return folders.map((folder) => folder.slice('streams/'.length));
}

export interface GenerationObjects {
  readonly objects: ListedObject[];
  /** It has a manifest. */
  published: boolean;
}

/** The objects of every generation that was ever begun, by its number. */
export async function generationsOf(store: ObjectStore, stream: string): Promise<Map<number, GenerationObjects>> {
  const keys = streamKeys(stream);
  const found = new Map<number, GenerationObjects>();
  for await (const object of store.list(keys.generations)) {
    const number = Number(/^([1-9]\d*)\//.exec(object.key.slice(keys.generations.length))?.[1] ?? 0);
    if (number === 0) continue;
    const generation = found.get(number) ?? { objects: [], published: false };
    found.set(number, generation);
    generation.objects.push(object);
    if (object.key === keys.manifest(number)) generation.published = true;
  }
  return found;
}

/** Adds every object that a generation refers to: by its manifest, by the lineage in it, or by its evaluation. */
export async function addReferences(
  store: ObjectStore,
  stream: string,
  number: number,
  referred: Set<string>,
  digest?: string,
): Promise<void> {
  const { manifest } = await readGeneration(store, stream, number, digest);
  for (const key of referencesOf(manifest)) referred.add(key);
  for (const [path, { key }] of Object.entries(manifest.files))
    if (/^[^/]+\.json$/.test(path)) for (const at of await referencesIn(store, key)) referred.add(at);
}

/** What all generations of all streams refer to, or those that are chosen. */
export async function referencesOfStreams(
  store: ObjectStore,
  chosen: (stream: string, generation: number) => boolean = () => true,
): Promise<Set<string>> {
  const referred = new Set<string>();
  await inLanes(LANES, await streamsIn(store), async (stream) => {
    for (const [n, { published }] of await generationsOf(store, stream))
      if (published && chosen(stream, n)) await unlessGone(addReferences(store, stream, n, referred));
  });
  return referred;
}

/** What each of these JSON objects refers to. */
export async function referencesOfAll(
  store: ObjectStore,
  objects: readonly ListedObject[],
): Promise<Map<ListedObject, string[]>> {
  const found = new Map<ListedObject, string[]>();
  await inLanes(LANES, objects, async (object) => {
    found.set(object, (await unlessGone(referencesIn(store, object.key))) ?? []);
  });
  return found;
}

async function referencesIn(store: ObjectStore, key: string): Promise<string[]> {
  return referencesOf(parseJson((await store.get(key)).bytes, key));
}

/** Keys of all references to objects, anywhere in plain data. */
function referencesOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const { key, size, sha256 } = value as Partial<StoredFile>;
  if (typeof key === 'string' && typeof size === 'number' && typeof sha256 === 'string') return [key];
  return Object.values(value).flatMap(referencesOf);
}

/** Undefined when another compaction removed it meanwhile. */
async function unlessGone<T>(work: Promise<T>): Promise<T | undefined> {
  return work.catch((error) => {
    if (isLiloraError(error, 'NotFound')) return undefined;
    throw error;
  });
}
