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

/** Bytes of small images that are written at once. */
const PIECE = 2 ** 20;

/** Images in one file of this machine, one after another; whoever named the file removes it. Some 90 bytes of memory for each. */
export class ImageSpool implements Images, ImageSink {
  private readonly path: string;
  private readonly file: FileHandle;
  private readonly digests = new DigestList();
  private readonly begins = new Numbers();
  private readonly ends = new Numbers();
  private end = 0;
  /** The last bytes of the file, which are not written yet. */
  private piece = Buffer.allocUnsafe(PIECE);
  private waiting = 0;
  private written: Promise<void> = Promise.resolve();

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
    if (this.waiting > 0) this.write(this.takePiece());
    await this.written;
    return readAt(this.file, this.begins.at(i), this.ends.at(i) - this.begins.at(i), this.path);
  }

  async set(digest: string, bytes: Uint8Array): Promise<void> {
    const at = this.end;
    this.end += bytes.byteLength;
    if (this.waiting + bytes.byteLength > PIECE && this.waiting > 0) this.write(this.takePiece());
    if (bytes.byteLength > PIECE) this.write(bytes);
    else {
      this.piece.set(bytes, this.waiting);
      this.waiting += bytes.byteLength;
    }
    if (this.digests.add(digest) === this.begins.length) {
      this.begins.push(at);
      this.ends.push(at + bytes.byteLength);
    }
    await this.written;
  }

  private takePiece(): Uint8Array {
    const piece = this.piece.subarray(0, this.waiting);
    [this.piece, this.waiting] = [Buffer.allocUnsafe(PIECE), 0];
    return piece;
  }

  /** Appends, once everything before is written. */
  private write(bytes: Uint8Array): void {
    this.written = this.written.then(() => this.file.writeFile(bytes));
    // Whoever waits for it is told.
    this.written.catch(() => {});
  }

  close(): Promise<void> {
    return this.file.close();
  }
}
