import { DEFAULTS } from '../core/defaults.ts';
import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { inLanes } from '../core/lanes.ts';
import { decodeImage } from './image.ts';
import type { Manifest } from './manifest.ts';
import type { Problems } from './problems.ts';
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
  /** SHA-256 by path. */
  readonly digests: ReadonlyMap<string, string>;
  /** Encoded as they came, by SHA-256. */
  readonly bytes: ReadonlyMap<string, Uint8Array>;
}

/**
 * Reads and verifies files that are left after the samples: images that samples use are decoded once, to find damage,
 * and kept; all others are only verified.
 */
export async function readImages(
  source: DatasetSource,
  files: readonly ListedFile[],
  used: ReadonlySet<string>,
  problems: Problems,
): Promise<ReadImages> {
  const digests = new Map<string, string>();
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
  await inLanes(LANES, files, one);
  return { digests, bytes: kept };
}
