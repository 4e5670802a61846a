import { randomUUID } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { constants, copyFile, type FileHandle, link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { DEFAULTS } from '../core/defaults.ts';
import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { guardedChunks, readBody, saveBody } from './bodies.ts';
import type { Expected } from './expected.ts';
import { withLock } from './folder-lock.ts';
import {
  type Accept,
  checkKey,
  type FolderLevel,
  type ListedObject,
  nameOf,
  type ObjectInfo,
  type ObjectStore,
  type OpenObject,
  type UnfinishedWrite,
} from './object-store.ts';

/** Our own folder under the root: unfinished files and locks. */
const PRIVATE = '.lilora-store';
/** Up to this size an etag is the content's digest; above it, inode, time and size. */
const HASHED_BYTES = 64 * 1024;

interface FileInfo extends ObjectInfo {
  readonly modified: Date;
}

/**
 * The object-store port on a local folder: for a single machine, or several that share a POSIX file system. Objects are
 * plain files. A write goes to a private file first and appears by link or rename, so none is ever seen half-written.
 */
export class FolderStore implements ObjectStore {
  private readonly root: string;

  constructor(root: string) {
    this.root = resolve(root);
  }

  describe(): string {
    return `file://${this.root}`;
  }

  getUnchecked(key: string, accept?: Accept): Promise<{ bytes: Uint8Array; etag: string }> {
    return this.get(key, accept);
  }

  get(key: string, accept?: Accept): Promise<{ bytes: Uint8Array; etag: string }> {
    return readBody(() => this.open(key), accept);
  }

  async open(key: string): Promise<OpenObject> {
    const what = nameOf(this, key);
    const handle = await this.attempt(key, () => open(this.path(key), 'r'));
    try {
      const { size, etag } = await infoOf(handle, what);
      const body = handle.createReadStream({ start: 0, highWaterMark: 1 << 20 });
      const idleMs = DEFAULTS['store.idleSeconds'].value * 1000;
      return { size, etag, chunks: guardedChunks(body, size, idleMs, what), close: () => body.destroy() };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async download(key: string, path: string, expected: Expected = {}): Promise<void> {
    await saveBody(() => this.open(key), path, expected, nameOf(this, key));
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const info = await this.info(key);
    return info && { size: info.size, etag: info.etag };
  }

  private async info(key: string): Promise<FileInfo | null> {
    const path = this.path(key);
    return this.attempt(key, async () => {
      const handle = await open(path, 'r').catch(absent);
      if (handle === null) return null;
      try {
        return (await handle.stat()).isFile() ? await infoOf(handle, nameOf(this, key)) : null;
      } finally {
        await handle.close();
      }
    });
  }

  async put(key: string, bytes: Uint8Array): Promise<string> {
    await this.write(key, (file) => file.writeFile(bytes), 'overwrite');
    return (await this.head(key))?.etag ?? '';
  }

  create(key: string, bytes: Uint8Array): Promise<'created' | 'exists'> {
    return this.write(key, (file) => file.writeFile(bytes), 'create');
  }

  async replace(key: string, bytes: Uint8Array, etag: string): Promise<'replaced' | 'changed'> {
    const result = await this.write(key, (file) => file.writeFile(bytes), { etag });
    return result === 'created' ? 'replaced' : 'changed';
  }

  async upload(key: string, path: string): Promise<void> {
    await this.write(key, path, 'overwrite');
  }

  createFrom(key: string, path: string): Promise<'created' | 'exists'> {
    return this.write(key, path, 'create');
  }

  async *list(prefix: string): AsyncIterable<ListedObject> {
    const keys: string[] = [];
    const walk = async (folder: string) => {
      for (const { key, entry } of await this.entries(folder)) {
        if (key === PRIVATE) continue;
        if (entry.isDirectory() && (key.startsWith(prefix) || prefix.startsWith(`${key}/`))) await walk(key);
        else if (entry.isFile() && key.startsWith(prefix)) keys.push(key);
      }
    };
    await this.attempt(prefix, () => walk(''));
    for (const key of keys.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
      const info = await this.info(key);
      if (info !== null) yield { key, ...info };
    }
  }

  async level(folder: string): Promise<FolderLevel> {
    const found = { objects: [] as ListedObject[], folders: [] as string[] };
    const entries = await this.attempt(folder, () => this.entries(folder === '' ? '' : checkKey(folder)));
    for (const { key, entry } of entries) {
      if (entry.isDirectory() && key !== PRIVATE) found.folders.push(key);
      const info = entry.isFile() ? await this.info(key) : null;
      if (info !== null) found.objects.push({ key, ...info });
    }
    return found;
  }

  async delete(key: string): Promise<void> {
    const path = this.path(key);
    await this.attempt(key, () => this.locked(key, () => rm(path, { force: true })));
  }

  async *unfinished(): AsyncIterable<UnfinishedWrite> {
    const folder = join(this.root, PRIVATE, 'new');
    for (const id of (await readdir(folder).catch(absent)) ?? []) {
      const info = await stat(join(folder, id)).catch(absent);
      if (info) yield { key: null, id, size: info.size, started: info.mtime };
    }
  }

  async discard({ id }: UnfinishedWrite): Promise<void> {
    await rm(join(this.root, PRIVATE, 'new', basename(id)), { force: true });
  }

  /** What lies directly in a folder, in order. */
  private async entries(folder: string): Promise<{ key: string; entry: Dirent }[]> {
    const found: Dirent[] = (await readdir(join(this.root, folder), { withFileTypes: true }).catch(absent)) ?? [];
    return found
      .sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
      .map((entry) => ({ key: folder === '' ? entry.name : `${folder}/${entry.name}`, entry }));
  }

  private path(key: string): string {
    if (checkKey(key).split('/')[0] === PRIVATE) {
      throw new LiloraError('BadConfig', `Object key ${key} is reserved by the folder store. Choose another one.`);
    }
    return join(this.root, key);
  }

  private locked<T>(key: string, work: () => Promise<T>): Promise<T> {
    return withLock(join(this.root, PRIVATE, 'locks'), sha256(key), work);
  }

  /** Writes a private file, makes it durable, and lets it appear under the key as `mode` demands. */
  private async write(
    key: string,
    source: string | ((file: FileHandle) => Promise<void>),
    mode: 'create' | 'overwrite' | { etag: string },
  ): Promise<'created' | 'exists'> {
    const path = this.path(key);
    const folder = join(this.root, PRIVATE, 'new');
    const partial = join(folder, randomUUID());
    return this.attempt(key, async () => {
      await mkdir(folder, { recursive: true });
      await mkdir(dirname(path), { recursive: true });
      try {
        if (typeof source === 'string') await copyFile(source, partial, constants.COPYFILE_FICLONE);
        const file = await open(partial, typeof source === 'string' ? 'r+' : 'wx');
        try {
          if (typeof source !== 'string') await source(file);
          await file.sync();
        } finally {
          await file.close();
        }
        if (mode === 'create') {
          const made = await link(partial, path).then(
            () => true,
            (error: NodeJS.ErrnoException) => {
              if (error.code === 'EEXIST') return false;
              throw error;
            },
          );
          if (!made) return 'exists';
        } else {
          const done = await this.locked(key, async () => {
            if (mode !== 'overwrite' && (await this.head(key))?.etag !== mode.etag) return false;
            await rename(partial, path);
            return true;
          });
          if (!done) return 'exists';
        }
        await syncFolder(dirname(path));
        return 'created';
      } finally {
        await rm(partial, { force: true });
      }
    });
  }

  /** Turns the file system's failures into the closed set. */
  private async attempt<T>(key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof LiloraError) throw error;
      const { code = 'unknown', path } = error as NodeJS.ErrnoException;
      const what = nameOf(this, key);
      // A missing file of the caller's own is not a missing object.
      if (code === 'ENOENT' && (path === undefined || path.startsWith(this.root))) {
        throw new LiloraError('NotFound', `${what}: no such object. Check the key.`);
      }
      if (code === 'ENOENT') throw new LiloraError('NotFound', `${path}: no such file. Check the path.`);
      if (['ENOTDIR', 'EISDIR', 'EACCES', 'EPERM', 'EROFS', 'ENAMETOOLONG', 'ELOOP'].includes(code)) {
        const problem = `${what}: the file system answers ${code}`;
        throw new LiloraError(
          'BadConfig',
          `${problem}. Check the folder's permissions, and that no object is named like a folder.`,
        );
      }
      throw new LiloraError(
        'StoreUnavailable',
        `${what}: the file system answers ${code}. Check disk and space, then try again.`,
      );
    }
  }
}

function absent(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}

/** Size, etag and time of an open file. Small files are hashed: inode and time can repeat within one clock tick. */
async function infoOf(handle: FileHandle, what: string): Promise<FileInfo> {
  const stats = await handle.stat({ bigint: true });
  if (!stats.isFile()) throw new LiloraError('NotFound', `${what}: no such object. Check the key.`);
  const size = Number(stats.size);
  const modified = stats.mtime;
  if (size > HASHED_BYTES) return { size, etag: `${stats.ino}-${stats.mtimeNs}-${size}`, modified };
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(size), 0, size, 0);
  return { size, etag: sha256(buffer.subarray(0, bytesRead)).slice(0, 32), modified };
}

/** Makes a new name durable. Some file systems cannot; then nothing is lost but that. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => null);
  await folder?.sync().catch(() => undefined);
  await folder?.close();
}
