import { stat } from 'node:fs/promises';
import { readBody, saveBody } from './bodies.ts';
import type { Expected } from './expected.ts';
import {
  type Accept,
  type FolderLevel,
  type ListedObject,
  nameOf,
  type ObjectInfo,
  type ObjectStore,
  type OpenObject,
  type UnfinishedWrite,
} from './object-store.ts';

/** What went through a store. Requests are counted as S3 prices them. */
export interface Traffic {
  bytesRead: number;
  bytesWritten: number;
  /** Requests that read or ask: get, head. */
  reads: number;
  /** Requests that write or list. Deleting is free, and a file that goes up in parts counts once. */
  writes: number;
}

/** Objects per page of a listing. */
const PAGE = 1000;

export const noTraffic = (): Traffic => ({ bytesRead: 0, bytesWritten: 0, reads: 0, writes: 0 });

/** An object store that counts what goes through it and is otherwise the store behind it. */
export class MeteredStore implements ObjectStore {
  private readonly store: ObjectStore;
  private readonly traffic: Traffic;

  constructor(store: ObjectStore, traffic: Traffic) {
    this.store = store;
    this.traffic = traffic;
  }

  describe(): string {
    return this.store.describe();
  }

  get(key: string, accept?: Accept): Promise<{ bytes: Uint8Array; etag: string }> {
    return readBody(() => this.open(key), accept);
  }

  async getUnchecked(key: string, accept?: Accept): Promise<{ bytes: Uint8Array; etag: string }> {
    this.traffic.reads++;
    const found = await this.store.getUnchecked(key, accept);
    this.traffic.bytesRead += found.bytes.byteLength;
    return found;
  }

  async open(key: string): Promise<OpenObject> {
    this.traffic.reads++;
    const object = await this.store.open(key);
    return { ...object, chunks: this.counted(object.chunks) };
  }

  async download(key: string, path: string, expected: Expected = {}): Promise<void> {
    await saveBody(() => this.open(key), path, expected, nameOf(this, key));
  }

  head(key: string): Promise<ObjectInfo | null> {
    this.traffic.reads++;
    return this.store.head(key);
  }

  put(key: string, bytes: Uint8Array): Promise<string> {
    this.wrote(bytes.byteLength);
    return this.store.put(key, bytes);
  }

  create(key: string, bytes: Uint8Array): Promise<'created' | 'exists'> {
    this.wrote(bytes.byteLength);
    return this.store.create(key, bytes);
  }

  replace(key: string, bytes: Uint8Array, etag: string): Promise<'replaced' | 'changed'> {
    this.wrote(bytes.byteLength);
    return this.store.replace(key, bytes, etag);
  }

  async upload(key: string, path: string): Promise<void> {
    await this.wroteFile(path);
    await this.store.upload(key, path);
  }

  async createFrom(key: string, path: string): Promise<'created' | 'exists'> {
    await this.wroteFile(path);
    return this.store.createFrom(key, path);
  }

  async *list(prefix: string): AsyncIterable<ListedObject> {
    let listed = 0;
    this.traffic.writes++;
    for await (const object of this.store.list(prefix)) {
      if (++listed % PAGE === 0) this.traffic.writes++;
      yield object;
    }
  }

  async level(folder: string): Promise<FolderLevel> {
    const level = await this.store.level(folder);
    this.traffic.writes += Math.max(1, Math.ceil((level.objects.length + level.folders.length) / PAGE));
    return level;
  }

  delete(key: string): Promise<void> {
    return this.store.delete(key);
  }

  async *unfinished(): AsyncIterable<UnfinishedWrite> {
    this.traffic.writes++;
    for await (const write of this.store.unfinished()) {
      this.traffic.writes++; // its parts are listed
      yield write;
    }
  }

  discard(write: UnfinishedWrite): Promise<void> {
    return this.store.discard(write);
  }

  private async *counted(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const chunk of chunks) {
      this.traffic.bytesRead += chunk.byteLength;
      yield chunk;
    }
  }

  private wrote(bytes: number): void {
    this.traffic.writes++;
    this.traffic.bytesWritten += bytes;
  }

  private async wroteFile(path: string): Promise<void> {
    // The store says it better when there is no such file.
    const file = await stat(path).catch(() => null);
    this.wrote(file?.size ?? 0);
  }
}
