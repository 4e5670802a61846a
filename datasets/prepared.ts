import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { LiloraError } from '../core/errors.ts';
import { openFile, readAt } from '../core/files.ts';
import { canonicalJson, parseJson } from '../core/json.ts';
import { layOut, SafetensorsFile, type TensorInfo } from '../core/safetensors.ts';
import type { Sample } from '../core/sample.ts';
import type { ImageFacts } from './files.ts';
import type { ImageSize } from './image.ts';
import { type Images, imageOf } from './images.ts';

const FORMAT = 'lilora-split-v1';
const SAMPLES = 'samples';
const IMAGE = 'image/';
/** Width and height of every image by digest, JSON; absent in files of older versions. */
const SIZES = 'sizes';

/**
 * Writes one split as training and evaluation read it: a single file with the samples (JSON) and every image that they
 * need, encoded as it came, by digest. The same content gives the same bytes. One image is in memory at a time.
 * @param images more than this split needs may be there
 * @param facts of images that were looked at: then nobody need look at them again to know their size
 * @returns size and SHA-256 of the file
 */
export async function writeSplit(
  path: string,
  samples: readonly Sample[],
  images: Images,
  facts: ReadonlyMap<string, ImageFacts>,
): Promise<{ size: number; sha256: string }> {
  const digests = new Set(samples.flatMap((sample) => sample.images));
  const texts = new Map([[SAMPLES, Buffer.from(canonicalJson(samples))]]);
  const sizes = sizesOf(digests, facts);
  if (sizes) texts.set(SIZES, Buffer.from(canonicalJson(sizes)));
  const parts = new Map([...texts].map(([name, text]) => [name, raw(text.byteLength)]));
  for (const digest of digests)
    parts.set(IMAGE + digest, raw(facts.get(digest)?.bytes ?? (await imageOf(images, digest)).byteLength));
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
      const piece = texts.get(name) ?? (await imageOf(images, name.slice(IMAGE.length)));
      if (piece.byteLength !== parts.get(name)!.bytes)
        throw new LiloraError('IntegrityError', `Image ${name} of the split changed while it was packed. Try again.`);
      await put(piece);
    }
  } finally {
    await file.close();
  }
  return { size: bytes, sha256: hash.digest('hex') };
}

/** Widths and heights, where they are known of every image. */
function sizesOf(digests: ReadonlySet<string>, facts: ReadonlyMap<string, ImageSize>) {
  const sizes: Record<string, [width: number, height: number]> = {};
  for (const digest of digests) {
    const size = facts.get(digest);
    if (!size) return null;
    sizes[digest] = [size.width, size.height];
  }
  return sizes;
}

const raw = (bytes: number) => ({ dtype: 'U8' as const, shape: [bytes], bytes });

function readSizes(text: Uint8Array, name: string): Map<string, ImageSize> {
  const sizes = parseJson(text, name) as Record<string, [width: number, height: number]>;
  return new Map(Object.entries(sizes).map(([digest, [width, height]]) => [digest, { width, height }]));
}

/** A file that `writeSplit` wrote: its samples in memory, its images on the disk until one is asked for. */
export class PackedSplit implements Images {
  readonly path: string;
  readonly samples: readonly Sample[];
  /** Of its images; undefined in files of older versions. */
  readonly sizes: Images['sizes'];
  private readonly places: ReadonlyMap<string, TensorInfo>;

  private constructor(
    path: string,
    samples: readonly Sample[],
    places: ReadonlyMap<string, TensorInfo>,
    sizes: Images['sizes'],
  ) {
    this.path = path;
    this.samples = samples;
    this.places = places;
    this.sizes = sizes;
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
      const sizes = file.has(SIZES) ? readSizes((await file.readRaw(SIZES)).data as Uint8Array, name) : undefined;
      return new PackedSplit(path, parseJson(data as Uint8Array, name) as Sample[], places, sizes);
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
    return { keys: () => digests, get: (digest) => this.get(digest), sizes: this.sizes };
  }
}
