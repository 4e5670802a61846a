import { DEFAULTS } from '../core/defaults.ts';
import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { inLanes } from '../core/lanes.ts';
import { decodeImage, type ImageSize } from './image.ts';
import type { ImageSink } from './images.ts';
import type { Manifest } from './manifest.ts';
import type { Problems } from './problems.ts';
import type { EmbeddedImage, ReadSample } from './readers/reader.ts';
import { type DatasetSource, MANIFEST_FILE } from './source.ts';

export type ListedFile = Manifest['files'][number];

/** Files that are read and checked side by side. */
const LANES = 16;

/** A file whose size and digest are those that the manifest promises; else `BadDataset`. @param limit in bytes */
export async function readVerified(source: DatasetSource, file: ListedFile, limit: number): Promise<Uint8Array> {
  const { path, size, sha256: digest } = file;
  const bad = (what: string) => new LiloraError('BadDataset', `${path}: ${what}.`);
  if (size > limit) throw bad(`${size} bytes, over the limit of ${limit}; make it smaller or split it`);
  const mend = 'copy the file again or correct the manifest';
  const bytes = await source.read(path, (found) => {
    if (found !== size) throw bad(`${found} bytes, but ${MANIFEST_FILE} says ${size}; ${mend}`);
  });
  const actual = sha256(bytes);
  if (actual !== digest) throw bad(`its SHA-256 is ${actual}, but ${MANIFEST_FILE} says ${digest}; ${mend}`);
  return bytes;
}

/** What is known of an image that was verified. */
export interface ImageFacts extends ImageSize {
  /** Encoded. */
  readonly bytes: number;
}

/** Images of a dataset, as they are found. */
export class FoundImages {
  /** SHA-256 by path. */
  readonly digests = new Map<string, string>();
  /** By SHA-256. */
  readonly facts = new Map<string, ImageFacts>();
  private readonly sink: ImageSink | undefined;

  /** @param sink takes every image once, encoded as it came; without it they are let go */
  constructor(sink?: ImageSink) {
    this.sink = sink;
  }

  /** Decodes an image once, to find damage. @param name used in messages */
  async add(digest: string, bytes: Uint8Array, name: string): Promise<void> {
    if (this.facts.has(digest)) return;
    const { width, height } = await decodeImage(bytes, name);
    await this.sink?.set(digest, bytes);
    this.facts.set(digest, { width, height, bytes: bytes.byteLength });
  }
}

/** Reads and verifies files that are left after the samples: images that samples use are kept, all others are only verified. */
export async function readImages(
  source: DatasetSource,
  files: readonly ListedFile[],
  used: ReadonlySet<string>,
  found: FoundImages,
  problems: Problems,
): Promise<void> {
  await inLanes(LANES, files, async (file) => {
    try {
      const isImage = used.has(file.path);
      const limit = DEFAULTS[isImage ? 'dataset.maxImageBytes' : 'dataset.maxFileBytes'].value;
      const bytes = await readVerified(source, file, limit);
      if (!isImage) return;
      await found.add(file.sha256, bytes, file.path);
      found.digests.set(file.path, file.sha256);
    } catch (error) {
      problems.addError(error);
    }
  });
}

/** A sample whose embedded images were taken out of its file. */
export type Unpacked = Omit<ReadSample, 'images'> & {
  readonly images: ReadonlyArray<string | { readonly sha256: string }>;
};

/** Verifies and keeps images that stand within a samples file, so that the file need not stay in memory. */
export async function takeImages(
  samples: readonly ReadSample[],
  found: FoundImages,
  problems: Problems,
): Promise<Unpacked[]> {
  const taken = new Map<EmbeddedImage, { readonly sha256: string }>();
  const embedded = samples.flatMap(({ images }) => images.filter((image) => typeof image !== 'string'));
  await inLanes(LANES, new Set(embedded), async (image) => {
    try {
      const digest = sha256(image.bytes);
      taken.set(image, { sha256: digest });
      await found.add(digest, image.bytes, image.name);
    } catch (error) {
      problems.addError(error);
    }
  });
  return samples.map(({ images, ...sample }) => ({
    ...sample,
    images: images.map((image) => (typeof image === 'string' ? image : taken.get(image)!)),
  }));
}
