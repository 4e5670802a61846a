import { DEFAULTS } from '../core/defaults.ts';
import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { inLanes } from '../core/lanes.ts';
import type { FoundImages } from './found-images.ts';
import type { Manifest } from './manifest.ts';
import type { Problems } from './problems.ts';
import type { EmbeddedImage, ReadImage, ReadSample, Samples, SamplesFile } from './readers/reader.ts';
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
  const { path, size } = file;
  const opened = await openListed(source, file, spool);
  const slice = (start: number, end: number) => opened.slice(start, end);
  return { path, size, manifest, slice, bytes: () => wholeOf(path, size, slice), close: () => opened.close() };
}

async function openListed(source: DatasetSource, file: ListedFile, spool: string): Promise<OpenedFile> {
  const { path, size, sha256: digest } = file;
  const limit = DEFAULTS['dataset.maxFileBytes'].value;
  if (size > limit) throw bad(path, `${size} bytes, over the limit of ${limit}; split it`);
  const opened = await source.open(path, spool, (found) => checkSize(file, found));
  if (opened.sha256 === digest) return opened;
  await opened.close();
  throw wrongDigest(file, opened.sha256);
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

/** Files that are no images are taken into memory up to so many bytes, else read through. */
const SMALL = 4 * 2 ** 20;

/**
 * Reads and verifies files that are left after the samples: images that samples use are kept, all others are only verified.
 * @param spool a path of this machine where copies of large ones may be kept meanwhile
 */
export async function readImages(
  source: DatasetSource,
  files: Iterable<ListedFile>,
  used: { has(path: string): boolean },
  found: FoundImages,
  problems: Problems,
  spool: string,
): Promise<void> {
  let large = 0;
  await inLanes(LANES, files, async (file) => {
    try {
      if (used.has(file.path)) {
        const bytes = await readVerified(source, file, DEFAULTS['dataset.maxImageBytes'].value);
        await found.add(file.sha256, bytes, file.path);
      } else if (file.size <= SMALL) await readVerified(source, file, SMALL);
      else await (await openListed(source, file, `${spool}-${large++}`)).close();
    } catch (error) {
      problems.addError(error, file.path);
    }
  });
}

/** An image out of a samples file that was verified. */
export interface TakenImage {
  readonly sha256: string;
  /** Encoded, as it came; with the sample they are let go. */
  readonly bytes: Uint8Array;
}

/** A sample whose embedded images were verified. */
export type Unpacked = Omit<ReadSample, 'images'> & { readonly images: ReadonlyArray<string | TakenImage> };

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
  const taken = new Map<EmbeddedImage, TakenImage>();
  const embedded = samples.flatMap(({ images }) => images.filter((image) => typeof image !== 'string'));
  await inLanes(LANES, new Set(embedded), async (image) => {
    try {
      const digest = sha256(image.bytes);
      await found.add(digest, image.bytes, image.name);
      taken.set(image, { sha256: digest, bytes: image.bytes });
    } catch (error) {
      problems.addError(error, image.name);
    }
  });
  const isTaken = (image: ReadImage) => typeof image === 'string' || taken.has(image);
  // What is wrong with the others was noted.
  return samples
    .filter(({ images }) => images.every(isTaken))
    .map(({ images, ...sample }) => ({
      ...sample,
      images: images.map((image) => (typeof image === 'string' ? image : taken.get(image)!)),
    }));
}
