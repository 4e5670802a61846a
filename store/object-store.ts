import { randomUUID } from 'node:crypto';
import { sha256 } from '../core/digest.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';
import { rereadDamaged, saveBody } from './bodies.ts';
import { checkBytes, type Expected } from './expected.ts';

export interface ObjectInfo {
  /** Bytes. */
  readonly size: number;
  /** Opaque: changes whenever the content changes. */
  readonly etag: string;
}

export interface ListedObject extends ObjectInfo {
  readonly key: string;
  /** When it was written, by the store's clock. */
  readonly modified: Date;
}

/** What lies directly in one folder. */
export interface FolderLevel {
  readonly objects: readonly ListedObject[];
  /** Full prefixes of the folders below it, without the last `/`. */
  readonly folders: readonly string[];
}

/** A write that never ended: it takes space and no reader ever sees it. */
export interface UnfinishedWrite {
  /** The object it was meant for, where the store knows it. */
  readonly key: string | null;
  /** The store's own name for it. */
  readonly id: string;
  /** Bytes it takes. */
  readonly size: number;
  readonly started: Date;
}

/** An object on its way in. Iterate `chunks` or call `close`: an abandoned body holds a connection. */
export interface OpenObject extends ObjectInfo {
  readonly chunks: AsyncIterable<Uint8Array>;
  close(): void;
}

/** Looks at a size in bytes before a body is read, and throws when it is not to be read. */
export type Accept = (size: number) => void;

/**
 * The object-store port. Keys are `/`-separated names relative to the store's root (see `checkKey`). Reads are strongly
 * consistent, an object is visible whole or not at all. Failures are `NotFound`, `StoreUnavailable` (may be retried),
 * `StoreDenied` (credentials, rights, clock), `BadConfig` (bucket, keys) and `IntegrityError`; each names the object.
 */
export interface ObjectStore {
  /** The place as a URI without credentials, for messages. */
  describe(): string;
  /** The whole object in memory: for small ones. What `accept` throws ends it before the body is read. */
  get(key: string, accept?: Accept): Promise<{ bytes: Uint8Array; etag: string }>;
  /** As `get`, for bytes whose digest the caller checks: nothing else does. Faster for many small objects. */
  getUnchecked(key: string, accept?: Accept): Promise<{ bytes: Uint8Array; etag: string }>;
  /** The object as a stream. A body that stalls or ends early fails with `StoreUnavailable`. */
  open(key: string): Promise<OpenObject>;
  /** Writes the object to a local file, which appears only when it is whole and as expected. */
  download(key: string, path: string, expected?: Expected): Promise<void>;
  head(key: string): Promise<ObjectInfo | null>;
  /** Writes or overwrites; gives the new etag. */
  put(key: string, bytes: Uint8Array): Promise<string>;
  /** Writes only when there is no such object. After lost answers `exists` may mean our own bytes: see `createOrSame`. */
  create(key: string, bytes: Uint8Array): Promise<'created' | 'exists'>;
  /** Writes only when the object still has this etag. After lost answers `changed` may mean our own bytes. */
  replace(key: string, bytes: Uint8Array, etag: string): Promise<'replaced' | 'changed'>;
  /** Writes or overwrites from a local file of any size, in parts when large. */
  upload(key: string, path: string): Promise<void>;
  /** As `upload`, but only when there is no such object. */
  createFrom(key: string, path: string): Promise<'created' | 'exists'>;
  /** All objects whose key starts with `prefix`, in order of their keys. */
  list(prefix: string): AsyncIterable<ListedObject>;
  /** One level of a folder: `''` is the root. A folder that does not exist is empty. */
  level(folder: string): Promise<FolderLevel>;
  /** Removes the object if it is there. */
  delete(key: string): Promise<void>;
  /** Writes that were begun and never ended, such as multipart uploads of a process that died. */
  unfinished(): AsyncIterable<UnfinishedWrite>;
  /** Gives up an unfinished write. One that is gone is gone. */
  discard(write: UnfinishedWrite): Promise<void>;
}

/** Accepts keys that are the same thing in S3 and in a folder, and nothing that could leave the store's root. */
export function checkKey(key: string): string {
  const refuse = (why: string): never => {
    throw new LiloraError('BadConfig', `Object key ${JSON.stringify(key)} ${why}. Use names joined by "/".`);
  };
  if (typeof key !== 'string' || key === '') return refuse('is empty');
  if (Buffer.byteLength(key) > 900) return refuse('is longer than 900 bytes');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (/[\u0000-\u001f\u007f\\]|\p{Surrogate}/u.test(key)) return refuse('holds a control character or a backslash');
  for (const part of key.split('/')) {
    if (part === '') return refuse('starts or ends with "/" or holds "//"');
    if (part === '.' || part === '..') return refuse(`holds the part "${part}"`);
    if (Buffer.byteLength(part) > 240) return refuse('has a part longer than 240 bytes');
  }
  return key;
}

/** Where an object is, for messages. */
export function nameOf(store: ObjectStore, key: string): string {
  return `${store.describe()}/${key}`;
}

/** All objects under a prefix, the newest first. */
export async function newestFirst(store: ObjectStore, prefix: string): Promise<ListedObject[]> {
  const found: ListedObject[] = [];
  for await (const object of store.list(prefix)) found.push(object);
  return found.sort((a, b) => b.modified.getTime() - a.modified.getTime() || (a.key < b.key ? -1 : 1));
}

/** The object's bytes, or `IntegrityError` with its name when they are not the promised ones. */
export async function getVerified(store: ObjectStore, key: string, expected: Expected): Promise<Uint8Array> {
  return rereadDamaged(async () => {
    const { bytes } = await store.get(key);
    checkBytes(bytes, expected, nameOf(store, key));
    return bytes;
  });
}

/** Reads an object of any size through and checks it, keeping nothing. */
export async function verifyObject(store: ObjectStore, key: string, expected: Expected): Promise<void> {
  await saveBody(() => store.open(key), null, expected, nameOf(store, key));
}

/** Creates the object; if it is there already it must hold the same bytes, else `Conflict`. Repeating it is harmless. */
export async function createOrSame(store: ObjectStore, key: string, bytes: Uint8Array): Promise<void> {
  if ((await store.create(key, bytes)) === 'exists') {
    await mustBeSame(store, key, { size: bytes.byteLength, sha256: sha256(bytes) });
  }
}

/** As `createOrSame`, from a local file whose size and digest are known. */
export async function createOrSameFrom(
  store: ObjectStore,
  key: string,
  path: string,
  expected: Required<Expected>,
): Promise<void> {
  if ((await store.head(key)) === null && (await store.createFrom(key, path)) === 'created') return;
  await mustBeSame(store, key, expected);
}

async function mustBeSame(store: ObjectStore, key: string, expected: Required<Expected>): Promise<void> {
  try {
    await verifyObject(store, key, expected);
  } catch (error) {
    if (!isLiloraError(error, 'IntegrityError')) throw error;
    const problem = `${nameOf(store, key)} exists with other content`;
    throw new LiloraError(
      'Conflict',
      `${problem}. Another writer was faster: read the current state and decide again.`,
    );
  }
}

/**
 * Proves with a scratch object that the store honours conditional creation and compare-and-swap, also under a race;
 * else `UnsupportedStore`. Publication is unsafe without them.
 */
export async function probe(store: ObjectStore): Promise<void> {
  const key = `.probe/${randomUUID()}`;
  const bytes = (text: string) => new TextEncoder().encode(text);
  const need = (holds: boolean, what: string) => {
    if (holds) return;
    const problem = `${store.describe()} does not support ${what}, without which publishing is unsafe`;
    throw new LiloraError('UnsupportedStore', `${problem}. Use AWS S3, versitygw, MinIO or a local folder.`);
  };
  const count = (answers: string[], answer: string) => answers.filter((a) => a === answer).length;
  try {
    const created = await Promise.all([1, 2, 3, 4].map((n) => store.create(key, bytes(`first ${n}`))));
    need(count(created, 'created') === 1, 'creation only if absent (If-None-Match: *)');
    const first = await store.get(key);
    need(
      new TextDecoder().decode(first.bytes) === `first ${created.indexOf('created') + 1}`,
      'reading what was written',
    );
    const replaced = await Promise.all([1, 2, 3, 4].map((n) => store.replace(key, bytes(`second ${n}`), first.etag)));
    need(count(replaced, 'replaced') === 1, 'replacement only if unchanged (If-Match)');
    need((await store.replace(key, bytes('third'), first.etag)) === 'changed', 'refusal of a stale If-Match');
  } finally {
    await store.delete(key).catch(() => undefined);
  }
}
