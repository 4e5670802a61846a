import { createHash } from 'node:crypto';
import { DigestList, DigestTable } from '../core/digest-table.ts';
import { Numbers } from '../core/numbers.ts';
import { decodeImage, type ImageSize, type RgbImage } from './image.ts';
import type { ImageSink } from './images.ts';

/** What is known of an image that was verified. */
export interface ImageFacts extends ImageSize {
  /** Encoded. */
  readonly bytes: number;
}

/** Images that were verified, by SHA-256. A map is one. */
export interface KnownImages {
  readonly size: number;
  get(digest: string): ImageFacts | undefined;
  keys(): Iterable<string>;
}

/** Rows of a picture that are compared with those of others. */
const ROWS = 64;

/** Images of a dataset, as they are found. Some 170 bytes of memory for each. */
export class FoundImages {
  private readonly digests = new DigestList();
  private readonly widths = new Numbers();
  private readonly heights = new Numbers();
  private readonly sizes = new Numbers();
  private readonly twins = new Numbers();
  private readonly pixels = new DigestTable();
  private readonly sink: ImageSink | undefined;

  /** @param sink takes every image once, encoded as it came; without it they are let go */
  constructor(sink?: ImageSink) {
    this.sink = sink;
  }

  /** Decodes an image once, to find damage. @param name used in messages */
  async add(digest: string, bytes: Uint8Array, name: string): Promise<void> {
    if (this.digests.indexOf(digest) >= 0) return;
    const picture = await decodeImage(bytes, name);
    await this.sink?.set(digest, bytes);
    const i = this.digests.add(digest);
    // Another sample with the same image may have been faster.
    if (i < this.widths.length) return;
    this.widths.push(picture.width);
    this.heights.push(picture.height);
    this.sizes.push(bytes.byteLength);
    this.twins.push(this.pixels.add(pixelDigest(picture), i) ?? i);
  }

  /** By SHA-256. */
  get facts(): KnownImages {
    const { digests } = this;
    return {
      size: digests.size,
      keys: () => digests.keys(),
      get: (digest) => {
        const i = digests.indexOf(digest);
        if (i < 0) return undefined;
        return { width: this.widths.at(i), height: this.heights.at(i), bytes: this.sizes.at(i) };
      },
    };
  }

  /** The first image with the same pixels, however it was encoded: a digest. */
  twinOf(digest: string): string {
    const i = this.digests.indexOf(digest);
    return i < 0 ? digest : this.digests.at(this.twins.at(i));
  }
}

/** Where rows are put together: memory of its own for each picture would cost more than their digests. */
let scratch = new Uint8Array(0);

/** Of the size and of rows all over the picture: enough to tell pictures apart, without reading large ones once more. */
function pixelDigest({ width, height, data }: RgbImage): Uint8Array {
  const hash = createHash('sha256').update(`${width}x${height}`);
  if (height <= ROWS) return hash.update(data).digest();
  const bytes = 3 * width;
  if (scratch.length < ROWS * bytes) scratch = new Uint8Array(ROWS * bytes);
  const rows = scratch.subarray(0, ROWS * bytes);
  for (let k = 0; k < ROWS; k++) {
    const row = Math.floor((k * height) / ROWS);
    rows.set(data.subarray(bytes * row, bytes * (row + 1)), bytes * k);
  }
  return hash.update(rows).digest();
}
