import { open, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandInput,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';
import { type ByteStream, guardedChunks, readBody, saveBody } from './bodies.ts';
import { type DirectBody, DirectReads } from './direct-reads.ts';
import type { Expected } from './expected.ts';
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
import { fromSdk, statusOf } from './s3-errors.ts';

const MEBIBYTE = 1024 * 1024;
const PARALLEL_PARTS = 4;
/** S3 allows no more parts. */
const MAX_PARTS = 10_000;
/** Answers to a conditional write that lost a race before it was decided: ask again. */
const CONFLICT_TRIES = 20;

/** Where a page of a listing of uploads begins. */
type UploadMarker = Pick<ListMultipartUploadsCommandInput, 'KeyMarker' | 'UploadIdMarker'>;

export interface S3Options {
  /** URL of an S3 server other than AWS. Default: what the AWS variables and profile say. */
  readonly endpoint?: string;
  /** Silence after which a connection counts as dead, in milliseconds. */
  readonly idleMs?: number;
  /** Files larger than this go up in parts of this size, in bytes (at least 5 MiB, S3's rule). */
  readonly partBytes?: number;
}

/**
 * The object-store port on S3 and what speaks like it. Credentials, region, profile and checksum mode come from the
 * standard AWS sources (`AWS_REQUEST_CHECKSUM_CALCULATION=WHEN_REQUIRED` helps with servers that refuse CRC32).
 */
export class S3Store implements ObjectStore {
  private readonly client: S3Client;
  private readonly direct: DirectReads;
  private readonly bucket: string;
  private readonly prefix: string;
  private readonly idleMs: number;
  private readonly partBytes: number;

  constructor(bucket: string, prefix: string, options: S3Options = {}) {
    this.bucket = bucket;
    this.prefix = prefix === '' ? '' : `${checkKey(prefix)}/`;
    this.idleMs = options.idleMs ?? DEFAULTS['store.idleSeconds'].value * 1000;
    this.partBytes = Math.max(5 * MEBIBYTE, options.partBytes ?? DEFAULTS['store.partMebibytes'].value * MEBIBYTE);
    const env = process.env;
    const endpoint = options.endpoint ?? env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL;
    const region = env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? (endpoint ? 'us-east-1' : undefined);
    this.client = new S3Client({
      ...(region && { region }),
      // Servers other than AWS seldom answer under a host name per bucket.
      ...(endpoint && { endpoint, forcePathStyle: true }),
      maxAttempts: DEFAULTS['store.requestAttempts'].value,
      requestHandler: {
        connectionTimeout: DEFAULTS['store.connectSeconds'].value * 1000,
        socketTimeout: this.idleMs,
      },
    });
    this.direct = new DirectReads(this.client);
  }

  describe(): string {
    return `s3://${this.bucket}/${this.prefix}`.replace(/\/$/, '');
  }

  get(key: string, accept?: Accept): Promise<{ bytes: Uint8Array; etag: string }> {
    return readBody(() => this.open(key), accept);
  }

  async open(key: string): Promise<OpenObject> {
    const what = nameOf(this, key);
    const command = new GetObjectCommand(this.at(key));
    this.direct.watch(command, this.at(key).Key);
    const result = await this.send(key, () => this.client.send(command));
    const body = result.Body as unknown as ByteStream;
    const { ContentLength: size, ETag: etag } = result;
    if (size === undefined || etag === undefined) {
      body.destroy();
      throw new LiloraError('UnsupportedStore', `${what}: the store sends no length or no ETag. Use another store.`);
    }
    return this.opened(key, { body, size, etag });
  }

  getUnchecked(key: string, accept?: Accept): Promise<{ bytes: Uint8Array; etag: string }> {
    return readBody(async () => {
      const found = await this.direct.open(this.at(key).Key);
      return found ? this.opened(key, found) : this.open(key);
    }, accept);
  }

  private opened(key: string, { body, size, etag }: DirectBody): OpenObject {
    const chunks = guardedChunks(body, size, this.idleMs, nameOf(this, key));
    return { size, etag, chunks, close: () => body.destroy() };
  }

  async download(key: string, path: string, expected: Expected = {}): Promise<void> {
    await saveBody(() => this.open(key), path, expected, nameOf(this, key));
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const command = new HeadObjectCommand(this.at(key));
    const result = await this.send(key, () => this.client.send(command), [404]);
    return result === 404 ? null : { size: result.ContentLength ?? 0, etag: result.ETag ?? '' };
  }

  async put(key: string, bytes: Uint8Array): Promise<string> {
    const command = new PutObjectCommand({ ...this.at(key), Body: bytes });
    return (await this.send(key, () => this.client.send(command))).ETag ?? '';
  }

  async create(key: string, bytes: Uint8Array): Promise<'created' | 'exists'> {
    const command = new PutObjectCommand({ ...this.at(key), Body: bytes, IfNoneMatch: '*' });
    const result = await this.decided(key, () => this.client.send(command));
    return result === 412 ? 'exists' : 'created';
  }

  async replace(key: string, bytes: Uint8Array, etag: string): Promise<'replaced' | 'changed'> {
    const command = new PutObjectCommand({ ...this.at(key), Body: bytes, IfMatch: etag });
    const result = await this.decided(key, () => this.client.send(command));
    // 404: there is no object any more that could match.
    return result === 412 || result === 404 ? 'changed' : 'replaced';
  }

  async upload(key: string, path: string): Promise<void> {
    await this.uploadFile(key, path, {});
  }

  createFrom(key: string, path: string): Promise<'created' | 'exists'> {
    return this.uploadFile(key, path, { IfNoneMatch: '*' });
  }

  async *list(prefix: string): AsyncIterable<ListedObject> {
    for await (const page of this.pages(prefix)) yield* page.objects;
  }

  async level(folder: string): Promise<FolderLevel> {
    const found = { objects: [] as ListedObject[], folders: [] as string[] };
    for await (const { objects, folders } of this.pages(folder === '' ? '' : `${checkKey(folder)}/`, '/')) {
      found.objects.push(...objects);
      found.folders.push(...folders);
    }
    return found;
  }

  private async *pages(prefix: string, Delimiter?: string): AsyncIterable<FolderLevel> {
    const keyOf = (full: string) => full.slice(this.prefix.length);
    let token: string | undefined;
    do {
      const input = { Bucket: this.bucket, Prefix: this.prefix + prefix, Delimiter, ContinuationToken: token };
      const page = await this.send(prefix, () => this.client.send(new ListObjectsV2Command(input)));
      const objects = (page.Contents ?? [])
        // Some servers list folders as objects of their own; they are none of ours.
        .filter(({ Key }) => Key !== undefined && !Key.endsWith('/'))
        .map(({ Key, Size, ETag, LastModified }) => ({
          key: keyOf(Key!),
          size: Size ?? 0,
          etag: ETag ?? '',
          modified: LastModified ?? new Date(0),
        }));
      const folders = (page.CommonPrefixes ?? []).map(({ Prefix }) => keyOf(Prefix!).replace(/\/$/, ''));
      yield { objects, folders };
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async delete(key: string): Promise<void> {
    await this.send(key, () => this.client.send(new DeleteObjectCommand(this.at(key))), [404]);
  }

  async *unfinished(): AsyncIterable<UnfinishedWrite> {
    let from: UploadMarker = {};
    for (;;) {
      const { Uploads, IsTruncated, NextKeyMarker, NextUploadIdMarker } = await this.uploads(from);
      for (const { Key, UploadId, Initiated } of Uploads ?? []) {
        const key = Key!.slice(this.prefix.length);
        yield { key, id: UploadId!, size: await this.partsSize(key, UploadId!), started: Initiated ?? new Date(0) };
      }
      if (!IsTruncated) return;
      from = { KeyMarker: NextKeyMarker, UploadIdMarker: NextUploadIdMarker };
    }
  }

  private uploads(from: UploadMarker) {
    const command = new ListMultipartUploadsCommand({ Bucket: this.bucket, Prefix: this.prefix, ...from });
    return this.send('', () => this.client.send(command));
  }

  async discard({ key, id }: UnfinishedWrite): Promise<void> {
    await this.send(
      key!,
      () => this.client.send(new AbortMultipartUploadCommand({ ...this.at(key!), UploadId: id })),
      [404],
    );
  }

  /** Bytes of the parts that an upload has stored; 0 when it ended meanwhile. */
  private async partsSize(key: string, UploadId: string): Promise<number> {
    let size = 0;
    let PartNumberMarker: string | undefined;
    do {
      const command = new ListPartsCommand({ ...this.at(key), UploadId, PartNumberMarker });
      const page = await this.send(key, () => this.client.send(command), [404]);
      if (page === 404) return 0;
      for (const { Size } of page.Parts ?? []) size += Size ?? 0;
      PartNumberMarker = page.IsTruncated ? page.NextPartNumberMarker : undefined;
    } while (PartNumberMarker !== undefined);
    return size;
  }

  private at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: this.prefix + checkKey(key) };
  }

  /** Sends a request; statuses in `expected` are answers, everything else that fails is one of the closed set. */
  private async send<T, S extends number = never>(
    key: string,
    request: () => Promise<T>,
    expected: readonly S[] = [],
  ): Promise<T | S> {
    try {
      return await request();
    } catch (error) {
      const status = statusOf(error) as S;
      if (expected.includes(status) && (error as Error).name !== 'NoSuchBucket') return status;
      throw fromSdk(error, nameOf(this, key));
    }
  }

  /** A conditional write, asked again while the store says 409: another write to the key is under way. */
  private async decided<T>(key: string, request: () => Promise<T>): Promise<T | 404 | 412> {
    for (let attempt = 1; ; attempt++) {
      const result = await this.send(key, request, [404, 409, 412]);
      if (result !== 409) return result;
      if (attempt === CONFLICT_TRIES) {
        throw new LiloraError('StoreUnavailable', `${nameOf(this, key)}: other writes do not end. Try again later.`);
      }
      await sleep(20 + Math.random() * 30 * attempt);
    }
  }

  private async uploadFile(key: string, path: string, condition: { IfNoneMatch?: '*' }): Promise<'created' | 'exists'> {
    const { size } = await stat(path).catch((error: NodeJS.ErrnoException) => {
      throw new LiloraError('NotFound', `${path}: ${error.code}. Check the path.`);
    });
    if (size > this.partBytes) return this.uploadParts(key, path, size, condition);
    const Body = await readPart(path, 0, size);
    const result = await this.decided(key, () =>
      this.client.send(new PutObjectCommand({ ...this.at(key), Body, ...condition })),
    );
    return result === 412 ? 'exists' : 'created';
  }

  /** Nothing is visible under the key before the last call; an upload that fails is taken back. */
  private async uploadParts(key: string, path: string, size: number, condition: { IfNoneMatch?: '*' }) {
    const at = this.at(key);
    const partBytes = Math.max(this.partBytes, Math.ceil(size / MAX_PARTS));
    // The SDK sends a CRC-32 with every part; the store must be told so first, or it refuses to put them together.
    const create = new CreateMultipartUploadCommand({ ...at, ChecksumAlgorithm: 'CRC32' });
    const started = await this.send(key, () => this.client.send(create));
    const upload = { ...at, UploadId: started.UploadId };
    try {
      const parts: { PartNumber: number; ETag?: string; ChecksumCRC32?: string }[] = [];
      let next = 0;
      const work = async () => {
        for (let index = next++; index * partBytes < size; index = next++) {
          const Body = await readPart(path, index * partBytes, Math.min(partBytes, size - index * partBytes));
          const command = new UploadPartCommand({ ...upload, PartNumber: index + 1, Body });
          const { ETag, ChecksumCRC32 } = await this.send(key, () => this.client.send(command));
          parts[index] = { PartNumber: index + 1, ETag, ...(ChecksumCRC32 && { ChecksumCRC32 }) };
        }
      };
      await allOrFirstError(Array.from({ length: PARALLEL_PARTS }, work));
      const result = await this.decided(key, () =>
        this.client.send(
          new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: parts }, ...condition }),
        ),
      );
      if (result !== 412 && result !== 404) return 'created';
      await this.abort(upload);
      if (result === 412) return 'exists';
      throw new LiloraError('StoreUnavailable', `${nameOf(this, key)}: the store lost the upload. Try again.`);
    } catch (error) {
      await this.abort(upload);
      throw error;
    }
  }

  private async abort(upload: { Bucket: string; Key: string; UploadId: string | undefined }): Promise<void> {
    await this.client.send(new AbortMultipartUploadCommand(upload)).catch(() => undefined);
  }
}

/** Waits for all, so that nothing goes on behind the caller's back, and then fails with the first failure. */
async function allOrFirstError(promises: Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(promises)) if (result.status === 'rejected') throw result.reason;
}

async function readPart(path: string, start: number, length: number): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await file.read(bytes, done, length - done, start + done);
      if (bytesRead === 0) {
        throw new LiloraError('IntegrityError', `${path} became shorter during its upload. Write it again.`);
      }
      done += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}
