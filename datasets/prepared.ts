import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { LiloraError } from '../core/errors.ts';
import { openFile, readAt } from '../core/files.ts';
import { canonicalJson, parseJson } from '../core/json.ts';
import { layOut, SafetensorsFile, type TensorInfo } from '../core/safetensors.ts';
import type { Sample } from '../core/sample.ts';
import { type Images, imageOf } from './images.ts';

const FORMAT = 'lilora-split-v1';
const SAMPLES = 'samples';
const IMAGE = 'image/';

/**
 * Writes one split as training and evaluation read it: a single file with the samples (JSON) and every image that they
 * need, encoded as it came, by digest. The same content gives the same bytes. One image is in memory at a time.
 * @param images more than this split needs may be there
 * @param sizes of the encoded images, in bytes
 * @returns size and SHA-256 of the file
 */
export async function writeSplit(
  path: string,
  samples: readonly Sample[],
  images: Images,
  sizes: ReadonlyMap<string, { readonly bytes: number }>,
): Promise<{ size: number; sha256: string }> {
  const text = Buffer.from(canonicalJson(samples));
  const parts = new Map([[SAMPLES, raw(text.byteLength)]]);
  for (const digest of new Set(samples.flatMap((sample) => sample.images)))
    parts.set(IMAGE + digest, raw(sizes.get(digest)?.bytes ?? (await imageOf(images, digest)).byteLength));
  const { names, head, bytes } = layOut(parts, { format: FORMAT });
  const hash = createHash('sha256');
  const file = await open(path, 'w');
  try {
    const put = async (piece: Uint8Array) => {
      hash.update(piece);
      // Appends: the whole piece is written before this ends.
      await file.writeFile(piece);
    };
    await put(head);
    for (const name of names) {
      const piece = name === SAMPLES ? text : await imageOf(images, name.slice(IMAGE.length));
      if (piece.byteLength !== parts.get(name)!.bytes)
        throw new LiloraError('IntegrityError', `Image ${name} of the split changed while it was packed. Try again.`);
      await put(piece);
    }
  } finally {
    await file.close();
  }
  return { size: bytes, sha256: hash.digest('hex') };
}

const raw = (bytes: number) => ({ dtype: 'U8' as const, shape: [bytes], bytes });

/** A file that `writeSplit` wrote: its samples in memory, its images on the disk until one is asked for. */
export class PackedSplit implements Images {
  readonly path: string;
  readonly samples: readonly Sample[];
  private readonly places: ReadonlyMap<string, TensorInfo>;

  private constructor(path: string, samples: readonly Sample[], places: ReadonlyMap<string, TensorInfo>) {
    this.path = path;
    this.samples = samples;
    this.places = places;
  }

  /** @param name of the file in messages, when it is not the path */
  static async open(path: string, name = path): Promise<PackedSplit> {
    const file = await SafetensorsFile.open(path);
    try {
      if (file.metadata['format'] !== FORMAT || !file.has(SAMPLES) || file.info(SAMPLES).dtype !== 'U8')
        throw new LiloraError('IntegrityError', `${name} is no packed split (${FORMAT}). Submit the dataset again.`);
      const { data } = await file.readRaw(SAMPLES);
      const images = file.names().filter((tensor) => tensor.startsWith(IMAGE));
      const places = new Map(images.map((tensor) => [tensor.slice(IMAGE.length), file.info(tensor)]));
      return new PackedSplit(path, parseJson(data as Uint8Array, name) as Sample[], places);
    } finally {
      await file.close();
    }
  }

  /** Digests of its images, in the order of the file. */
  keys(): Iterable<string> {
    return this.places.keys();
  }

  async get(digest: string): Promise<Uint8Array | undefined> {
    const place = this.places.get(digest);
    if (!place) return undefined;
    const file = await openFile(this.path);
    try {
      return await readAt(file, place.begin, place.end - place.begin, this.path);
    } finally {
      await file.close();
    }
  }

  /** The images of some samples alone, in the order of the file. */
  imagesOf(samples: readonly Sample[]): Images {
    const wanted = new Set(samples.flatMap((sample) => sample.images));
    const digests = [...this.keys()].filter((digest) => wanted.has(digest));
    return { keys: () => digests, get: (digest) => this.get(digest) };
  }
}
