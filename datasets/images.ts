import { type FileHandle, open } from 'node:fs/promises';
import { DigestList } from '../core/digest-table.ts';
import { LiloraError } from '../core/errors.ts';
import { readAt } from '../core/files.ts';
import { Numbers } from '../core/numbers.ts';

/** Upright width and height of images, in pixels, by SHA-256. A map is one. */
export interface ImageSizes {
  get(digest: string): { readonly width: number; readonly height: number } | undefined;
}

/** Encoded images by SHA-256, read when they are needed. A map of them is one in memory. */
export interface Images {
  /** Upright width and height of each, where they are known. */
  readonly sizes?: ImageSizes | undefined;
  keys(): Iterable<string>;
  get(digest: string): Uint8Array | undefined | Promise<Uint8Array | undefined>;
}

/** Where verified images are put, each once. */
export interface ImageSink {
  set(digest: string, bytes: Uint8Array): unknown;
}

/** One image, or `IntegrityError` when it is not there. */
export async function imageOf(images: Images, digest: string): Promise<Uint8Array> {
  const bytes = await images.get(digest);
  if (bytes) return bytes;
  throw new LiloraError('IntegrityError', `Image ${digest} is not in the prepared data. Submit the dataset again.`);
}

/** Images in one file of this machine, one after another; whoever named the file removes it. Some 90 bytes of memory for each. */
export class ImageSpool implements Images, ImageSink {
  private readonly path: string;
  private readonly file: FileHandle;
  private readonly digests = new DigestList();
  private readonly begins = new Numbers();
  private readonly ends = new Numbers();
  private end = 0;

  private constructor(path: string, file: FileHandle) {
    this.path = path;
    this.file = file;
  }

  static async create(path: string): Promise<ImageSpool> {
    return new ImageSpool(path, await open(path, 'wx+'));
  }

  keys(): Iterable<string> {
    return this.digests.keys();
  }

  async get(digest: string): Promise<Uint8Array | undefined> {
    const i = this.digests.indexOf(digest);
    if (i < 0) return undefined;
    return readAt(this.file, this.begins.at(i), this.ends.at(i) - this.begins.at(i), this.path);
  }

  async set(digest: string, bytes: Uint8Array): Promise<void> {
    // Many are written at once, each to a place of its own.
    const at = this.end;
    this.end += bytes.byteLength;
    let done = 0;
    while (done < bytes.byteLength)
      done += (await this.file.write(bytes, done, bytes.byteLength - done, at + done)).bytesWritten;
    if (this.digests.add(digest) < this.begins.length) return;
    this.begins.push(at);
    this.ends.push(at + bytes.byteLength);
  }

  close(): Promise<void> {
    return this.file.close();
  }
}
