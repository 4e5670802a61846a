import { z } from 'zod';
import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { canonicalJson, parseJson } from '../core/json.ts';
import { type Head, moveHead, readHeadObject } from './head.ts';
import { checkKey, createOrSame, createOrSameFrom, nameOf, type ObjectStore, verifyObject } from './object-store.ts';

/** An object of the store and what it must be. */
export interface StoredFile {
  readonly key: string;
  readonly size: number;
  readonly sha256: string;
}

/** Where a stream keeps its objects. */
export function streamKeys(stream: string) {
  const root = `streams/${stream}`;
  return {
    root,
    definition: `${root}/stream.json`,
    head: `${root}/head.json`,
    generations: `${root}/generations/`,
    generation: (number: number) => `${root}/generations/${number}`,
    manifest: (number: number) => `${root}/generations/${number}/manifest.json`,
    tasks: `${root}/tasks/`,
    task: (task: string) => `${root}/tasks/${task}`,
    /** Dataset versions that sweeps submitted, measurements of drift, reports of compactions. */
    swept: `${root}/swept/`,
    drift: `${root}/drift/`,
    compactions: `${root}/compactions/`,
    /** Adapters merged of several tasks. */
    merged: `${root}/merged/`,
    /** Records of tasks that were removed. */
    removals: `${root}/removals/`,
  };
}

/** Where a generation has what its router keeps of a task. */
export const routingPath = (task: string) => `routing/${task}.safetensors`;

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const manifestSchema = z.strictObject({
  schema: z.literal(1),
  stream: z.string(),
  generation: z.int().min(1),
  parent: z.strictObject({ generation: z.int().min(1), manifestDigest: digest }).nullable(),
  /** By path within the generation; an unchanged file of an earlier generation keeps its key there. */
  files: z.record(z.string(), z.strictObject({ key: z.string(), size: z.int().min(0), sha256: digest })),
  /** Where all of it comes from: datasets, code, engine, seed. Plain data of the publisher. */
  lineage: z.record(z.string(), z.unknown()),
});

/** `manifest.json`: written last, so a generation is there as a whole or not at all. */
export type Manifest = z.infer<typeof manifestSchema>;

export interface Generation {
  readonly manifest: Manifest;
  readonly manifestDigest: string;
  /** A file by its path; `NotFound` when the generation has none of that name. */
  file(path: string): StoredFile;
}

/** The head of a stream; null before its first publication. */
export async function readHead(store: ObjectStore, stream: string): Promise<Head | null> {
  return (await readHeadObject(store, streamKeys(stream).head))?.head ?? null;
}

/** Reads a generation's manifest and checks it. @param expected digest of the manifest, where it is known */
export async function readGeneration(
  store: ObjectStore,
  stream: string,
  number: number,
  expected?: string,
): Promise<Generation> {
  const key = streamKeys(stream).manifest(number);
  if ((await store.head(key)) === null)
    throw new LiloraError(
      'NotFound',
      `Stream ${stream} has no generation ${number}. Look at \`lilora status ${stream}\`.`,
    );
  const { bytes } = await store.get(key);
  const name = nameOf(store, key);
  const damaged = (why: string) => new LiloraError('IntegrityError', `${name}: ${why}. Restore it from a copy.`);
  const manifestDigest = sha256(bytes);
  if (expected !== undefined && manifestDigest !== expected)
    throw damaged(`its SHA-256 is ${manifestDigest}, the head says ${expected}`);
  const parsed = manifestSchema.safeParse(parseJson(bytes, name));
  if (!parsed.success) throw damaged(`no manifest: ${z.prettifyError(parsed.error)}`);
  const manifest = parsed.data;
  if (manifest.stream !== stream || manifest.generation !== number)
    throw damaged(`it is the manifest of ${manifest.stream}, generation ${manifest.generation}`);
  for (const { key: at } of Object.values(manifest.files)) checkKey(at);
  return { manifest, manifestDigest, file: (path) => fileOf(manifest, path) };
}

/**
 * A generation that a head stands on, each manifest checked against the digest that its successor (the head, at last) has of
 * it. One that a rollback left behind is on no such chain: it is only checked in itself.
 * @param number the head's own when absent
 */
export async function headGeneration(
  store: ObjectStore,
  stream: string,
  head: Pick<Head, 'generation' | 'manifestDigest'>,
  number = head.generation,
): Promise<Generation> {
  let next: Pick<Head, 'generation' | 'manifestDigest'> | null = head;
  while (next && next.generation >= number) {
    const found = await readGeneration(store, stream, next.generation, next.manifestDigest);
    if (next.generation === number) return found;
    next = found.manifest.parent;
  }
  return readGeneration(store, stream, number);
}

function fileOf({ stream, generation, files }: Manifest, path: string): StoredFile {
  const found = Object.hasOwn(files, path) ? files[path] : undefined;
  if (found) return found;
  throw new LiloraError('NotFound', `Generation ${generation} of stream ${stream} has no file ${path}.`);
}

/** One more than every generation that was ever begun, published or not. */
export async function nextGeneration(store: ObjectStore, stream: string): Promise<number> {
  const prefix = streamKeys(stream).generations;
  let highest = 0;
  for await (const { key } of store.list(prefix)) {
    const number = Number(/^([1-9]\d*)\//.exec(key.slice(prefix.length))?.[1] ?? 0);
    highest = Math.max(highest, number);
  }
  return highest + 1;
}

/** A file on its way into a generation. */
export type NewFile =
  | { readonly path: string; readonly bytes: Uint8Array }
  /** A local file of any size. */
  | { readonly path: string; readonly local: string; readonly size: number; readonly sha256: string }
  /** An object that is there already, such as an adapter that did not change. */
  | { readonly path: string; readonly stored: StoredFile };

export interface Publication {
  readonly stream: string;
  readonly generation: number;
  /** The head as the publisher saw it: nobody may have moved it since. */
  readonly head: Head | null;
  readonly files: readonly NewFile[];
  readonly lineage: Readonly<Record<string, unknown>>;
}

/**
 * Publishes a generation: every file once, the manifest last, then the head. Repeating it after a crash at any point
 * ends in the same state; other content under the same number, or a head moved by somebody else, is a `Conflict`.
 */
export async function publish(store: ObjectStore, publication: Publication): Promise<Head> {
  const { stream, generation, head, lineage } = publication;
  const keys = streamKeys(stream);
  const files: Record<string, StoredFile> = {};
  for (const file of publication.files) files[file.path] = await place(store, keys.generation(generation), file);
  const parent = head && { generation: head.generation, manifestDigest: head.manifestDigest };
  const manifest: Manifest = { schema: 1, stream, generation, parent, files, lineage: { ...lineage } };
  const bytes = Buffer.from(canonicalJson(manifest));
  await createOrSame(store, keys.manifest(generation), bytes);
  return moveHead(store, keys.head, head, { generation, manifestDigest: sha256(bytes) });
}

async function place(store: ObjectStore, folder: string, file: NewFile): Promise<StoredFile> {
  if ('stored' in file) return file.stored;
  const key = checkKey(`${folder}/${file.path}`);
  if ('bytes' in file) {
    await createOrSame(store, key, file.bytes);
    return { key, size: file.bytes.byteLength, sha256: sha256(file.bytes) };
  }
  const { local, size, sha256: expected } = file;
  await createOrSameFrom(store, key, local, { size, sha256: expected });
  return { key, size, sha256: expected };
}

/** Points the head at an earlier generation, after every byte of it was checked. Later generations stay readable. */
export async function rollback(store: ObjectStore, stream: string, number: number, head: Head | null): Promise<Head> {
  const { manifest, manifestDigest } = head
    ? await headGeneration(store, stream, head, number)
    : await readGeneration(store, stream, number);
  for (const { key, ...expected } of Object.values(manifest.files)) await verifyObject(store, key, expected);
  return moveHead(store, streamKeys(stream).head, head, { generation: number, manifestDigest });
}
