import { DEFAULTS } from '../core/defaults.ts';
import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { inLanes } from '../core/lanes.ts';
import { decodeImage, type ImageSize } from './image.ts';
import type { ImageSink } from './images.ts';
import type { Manifest } from './manifest.ts';
import type { Problems } from './problems.ts';
import type { EmbeddedImage, ReadSample, Samples, SamplesFile } from './readers/reader.ts';
import { type DatasetSource, MANIFEST_FILE, type OpenedFile } from './source.ts';

export type ListedFile = Manifest['files'][number];

/** Files that are read and checked side by side. */
const LANES = 16;

/** A file whose size and digest are those that the manifest promises; else `BadDataset`. @param limit in bytes */
export async function readVerified(source: DatasetSource, file: ListedFile, limit: number): Promise<Uint8Array> {
  const { path, size, sha256: digest } = file;
  if (size > limit) throw bad(path, `${size} bytes, over the limit of ${limit}; make it smaller or split it`);
  const bytes = await source.read(path, (found) => checkSize(file, found));
  const actual = sha256(bytes);
  if (actual !== digest) throw wrongDigest(file, actual);
  return bytes;
}

const MEND = 'copy the file again or correct the manifest';

const bad = (path: string, what: string) => new LiloraError('BadDataset', `${path}: ${what}.`);

function checkSize({ path, size }: ListedFile, found: number): void {
  if (found !== size) throw bad(path, `${found} bytes, but ${MANIFEST_FILE} says ${size}; ${MEND}`);
}

const wrongDigest = ({ path, sha256: digest }: ListedFile, actual: string) =>
  bad(path, `its SHA-256 is ${actual}, but ${MANIFEST_FILE} says ${digest}; ${MEND}`);

/**
 * A samples file that is read by ranges, once its size and digest are those that the manifest promises; else `BadDataset`.
 * @param spool a path of this machine where a copy may be kept meanwhile
 */
export async function openVerified(
  source: DatasetSource,
  file: ListedFile,
  spool: string,
  manifest: Manifest,
): Promise<OpenedSamples> {
  const { path, size, sha256: digest } = file;
  const limit = DEFAULTS['dataset.maxFileBytes'].value;
  if (size > limit) throw bad(path, `${size} bytes, over the limit of ${limit}; split it`);
  const opened = await source.open(path, spool, (found) => checkSize(file, found));
  if (opened.sha256 !== digest) {
    await opened.close();
    throw wrongDigest(file, opened.sha256);
  }
  const slice = (start: number, end: number) => opened.slice(start, end);
  return { path, size, manifest, slice, bytes: () => wholeOf(path, size, slice), close: () => opened.close() };
}

/** A file that readers read, and how to let it go. */
export type OpenedSamples = SamplesFile & Pick<OpenedFile, 'close'>;

/** A folder of images, which has no bytes of its own. */
export function folderOf(path: string, manifest: Manifest): OpenedSamples {
  const none = async () => new Uint8Array();
  return { path, size: 0, manifest, slice: none, bytes: none, close: async () => {} };
}

async function wholeOf(path: string, size: number, slice: SamplesFile['slice']): Promise<Uint8Array> {
  const most = DEFAULTS['dataset.maxWholeBytes'].value;
  if (size > most)
    throw bad(path, `${size} bytes, over the limit of ${most} for a file of this kind; split it, or write JSON lines`);
  return slice(0, size);
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

/** Samples, and bytes of images in them, that are looked at together. */
const BATCH = { samples: 256, bytes: 32 * 2 ** 20 };

/** Verifies and keeps images that stand within a samples file, so that no sample need stay in memory. */
export async function* takeImages(samples: Samples, found: FoundImages, problems: Problems): AsyncGenerator<Unpacked> {
  let batch: ReadSample[] = [];
  let bytes = 0;
  for await (const sample of samples) {
    batch.push(sample);
    for (const image of sample.images) if (typeof image !== 'string') bytes += image.bytes.byteLength;
    if (batch.length < BATCH.samples && bytes < BATCH.bytes) continue;
    yield* await unpack(batch, found, problems);
    [batch, bytes] = [[], 0];
  }
  yield* await unpack(batch, found, problems);
}

async function unpack(samples: readonly ReadSample[], found: FoundImages, problems: Problems): Promise<Unpacked[]> {
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
