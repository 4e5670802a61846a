import { DEFAULTS } from '../core/defaults.ts';
import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { inLanes } from '../core/lanes.ts';
import { decodeImage } from './image.ts';
import type { Manifest } from './manifest.ts';
import type { Problems } from './problems.ts';
import type { EmbeddedImage, ReadImage } from './readers/reader.ts';
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

/** Images of a dataset. */
export interface ReadImages {
  /** SHA-256 by path, and of those that stand within samples files. */
  readonly digests: ReadonlyMap<ReadImage, string>;
  /** Encoded as they came, by SHA-256. */
  readonly bytes: ReadonlyMap<string, Uint8Array>;
}

/**
 * Reads and verifies files that are left after the samples: images that samples use are decoded once, to find damage,
 * and kept; all others are only verified. So are images that stand within samples files.
 */
export async function readImages(
  source: DatasetSource,
  files: readonly ListedFile[],
  used: ReadonlySet<ReadImage>,
  problems: Problems,
): Promise<ReadImages> {
  const digests = new Map<ReadImage, string>();
  const kept = new Map<string, Uint8Array>();
  const one = async (file: ListedFile) => {
    try {
      const isImage = used.has(file.path);
      const limit = DEFAULTS[isImage ? 'dataset.maxImageBytes' : 'dataset.maxFileBytes'].value;
      const bytes = await readVerified(source, file, limit);
      if (!isImage) return;
      if (!kept.has(file.sha256)) await decodeImage(bytes, file.path);
      digests.set(file.path, file.sha256);
      kept.set(file.sha256, bytes);
    } catch (error) {
      problems.addError(error);
    }
  };
  const inside = async (image: EmbeddedImage) => {
    try {
      const digest = sha256(image.bytes);
      if (!kept.has(digest)) await decodeImage(image.bytes, image.name);
      digests.set(image, digest);
      // Not a copy: the file it lies in is images for the most part, and would be held twice.
      if (!kept.has(digest)) kept.set(digest, image.bytes);
    } catch (error) {
      problems.addError(error);
    }
  };
  await inLanes(LANES, files, one);
  await inLanes(
    LANES,
    [...used].filter((image) => typeof image !== 'string'),
    inside,
  );
  return { digests, bytes: kept };
}
