import * as tf from '@tensorflow/tfjs';
import { sha256 } from '../../core/digest.ts';
import { LiloraError } from '../../core/errors.ts';
import { type Images, imageOf } from '../../datasets/images.ts';
import type { Picture } from '../../datasets/processor/picture.ts';
import type { Processor } from '../../datasets/processor/processor.ts';
import type { BaseModel } from '../../learning/model/model.ts';
import { laneParts, lanes } from '../../learning/tensors/backend.ts';
import { Compiled } from '../../learning/tensors/compile.ts';
import type { FeatureSource } from '../../learning/training/features.ts';
import type { FeatureFiles, Seen } from './feature-files.ts';

/** Images that are looked at together, and pictures (tiles) of one pass through the tower. */
const GROUP = 32;

/** Pixels of one pass: as many as in a group of pictures of 512 × 512. */
const PIXELS = GROUP * 512 * 512;

/** What of a model sees. */
type Tower = Pick<BaseModel, 'encodeImages'>;

/** An image among those that it shares a pass with. */
interface Place {
  readonly key: string;
  readonly group: readonly string[];
  readonly index: number;
  readonly images: Images;
}

/**
 * Vision features. The tower is frozen, so what went through it once is kept while its model is warm. It is kept by
 * group: the low bits of features depend on what shares a pass, so who shares one follows from the data alone (images of
 * a training split in their order, images of one batch of an evaluation) and never from what this process did before.
 * Files keep them beyond this process, and beyond its memory: those used longest ago leave it first.
 */
export class Features {
  private readonly model: Tower;
  private readonly processor: Processor;
  private readonly files: FeatureFiles | null;
  private readonly limit: number;
  /** By group and place in it, the one used longest ago first. */
  private readonly known = new Map<string, Seen>();
  /** Bytes of `known`. */
  private held = 0;
  /** Something had to leave memory. */
  private full = false;
  /** The tower as a graph, over pictures in lanes: each part [n, 3, height, width]. */
  private readonly tower: Compiled<readonly tf.Tensor4D[], tf.Tensor3D>;
  /** Groups that went through the tower. */
  private readonly computed = new Set<string>();
  private told = false;

  /**
   * @param files null: kept in memory alone
   * @param limit bytes in memory
   */
  constructor(model: Tower, processor: Processor, files: FeatureFiles | null, limit = Number.POSITIVE_INFINITY) {
    this.model = model;
    this.processor = processor;
    this.files = files;
    this.limit = limit;
    this.tower = new Compiled(
      (parts) => tf.concat(parts.map((pixels) => this.model.encodeImages(pixels))) as tf.Tensor3D,
    );
  }

  /** Bytes in memory, without those that are in use. */
  get bytes(): number {
    return this.held;
  }

  /** The images of whole splits, grouped within each. Gives a source of features for any of them; `onProgress` hears of every group. */
  async ofSplits(splits: readonly Images[], onProgress: () => void, signal: AbortSignal): Promise<FeatureSource> {
    const places = new Map<string, Place>();
    for (const images of splits)
      for (const group of groups([...images.keys()])) {
        signal.throwIfAborted();
        const members = placesOf(group, images);
        // Memory that is full is not filled again with what a file holds.
        if (!(this.full && (await this.files?.has(members[0]!.key)))) await this.seen(members);
        for (const [i, digest] of group.entries()) places.set(digest, members[i]!);
        onProgress();
      }
    let now = new Map<string, Seen>();
    const source = (digests: readonly string[]) => {
      const known = (digest: string) => now.get(digest) ?? this.recall(placeOf(places, digest));
      return tensorOf(digests.map((digest) => known(digest) ?? missing(digest)));
    };
    const ready = async (digests: readonly string[]) => {
      now = await this.found([...new Set(digests)].map((digest) => [digest, placeOf(places, digest)] as const));
    };
    return Object.assign(source, { ready });
  }

  /** Features of the images of one batch, [rows, tokens, width], one image after another in this order; the caller disposes. */
  async ofBatch(digests: readonly string[], images: Images): Promise<tf.Tensor3D> {
    const distinct = groups([...new Set(digests)]).flatMap((group) =>
      placesOf(group, images).map((place, i) => [group[i]!, place] as const),
    );
    const found = await this.found(distinct);
    return tensorOf(digests.map((digest) => found.get(digest)!));
  }

  /** Features of some images: from memory, from files, or computed with their groups. */
  private async found(wanted: ReadonlyArray<readonly [digest: string, Place]>): Promise<Map<string, Seen>> {
    const found = new Map<string, Seen>();
    const lacking = new Map<string, Array<readonly [digest: string, Place]>>();
    for (const [digest, place] of wanted) {
      const seen = this.recall(place);
      if (seen) found.set(digest, seen);
      else lacking.set(place.key, [...(lacking.get(place.key) ?? []), [digest, place]]);
    }
    for (const members of lacking.values()) {
      const seen = await this.seen(members.map(([, place]) => place));
      for (const [i, [digest]] of members.entries()) found.set(digest, seen[i]!);
    }
    return found;
  }

  /** Features of images of one group. */
  private async seen(places: readonly Place[]): Promise<Seen[]> {
    const { key, group, images } = places[0]!;
    const indices = places.map(({ index }) => index);
    const here = places.map((place) => this.recall(place));
    if (here.every((seen) => seen !== undefined)) return here as Seen[];
    const kept = await this.files?.read(key, indices);
    if (kept) {
      for (const [i, seen] of kept.entries()) this.keep(places[i]!, seen);
      return kept;
    }
    if (this.computed.has(key)) this.tellAgain();
    this.computed.add(key);
    const all = await this.compute(group, images);
    await this.files?.write(key, all);
    for (const [index, seen] of all.entries()) this.keep({ key, index }, seen);
    return indices.map((index) => all[index]!);
  }

  /** Says once in the engine's log that work is done again and again. */
  private tellAgain(): void {
    if (this.told) return;
    this.told = true;
    const problem = 'vision features fit neither into memory nor into the files of this worker and are computed again';
    process.stderr.write(`${problem}: raise LILORA_FEATURES_GIB\n`);
  }

  private recall({ key, index }: Pick<Place, 'key' | 'index'>): Seen | undefined {
    const name = `${key}/${index}`;
    const seen = this.known.get(name);
    if (!seen) return undefined;
    this.known.delete(name);
    this.known.set(name, seen);
    return seen;
  }

  private keep({ key, index }: Pick<Place, 'key' | 'index'>, seen: Seen): void {
    const name = `${key}/${index}`;
    this.held += seen.values.byteLength - (this.known.get(name)?.values.byteLength ?? 0);
    this.known.delete(name);
    this.known.set(name, seen);
    for (const [oldest, { values }] of this.known) {
      if (this.held <= this.limit) break;
      this.known.delete(oldest);
      this.held -= values.byteLength;
      this.full = true;
    }
  }

  private async compute(group: readonly string[], images: Images): Promise<Seen[]> {
    const pictures = await Promise.all(
      group.map(async (digest) => this.processor.pixels(await imageOf(images, digest))),
    );
    const seen: Seen[] = [];
    while (seen.length < pictures.length)
      seen.push(...this.pass(pictures.slice(seen.length, passEnd(pictures, seen.length))));
    return seen;
  }

  /** One pass through the tower: images of one size. */
  private pass(images: readonly Picture[]): Seen[] {
    const { height, width } = images[0]!;
    const count = images.reduce((sum, image) => sum + image.count, 0);
    const all = new Float32Array(count * 3 * height * width);
    put(all, images);
    const features = tf.tidy(() => this.encoded(tf.tensor4d(all, [count, 3, height, width])));
    const values = features.dataSync() as Float32Array;
    const [rows, tokens, size] = features.shape;
    features.dispose();
    if (rows % count !== 0)
      throw new LiloraError('BadDataset', 'A picture holds nothing that this model sees. Leave it out of the dataset.');
    let at = 0;
    return images.map((image) => {
      const own = (rows / count) * image.count;
      const from = at;
      at += own * tokens * size;
      return { shape: [own, tokens, size], values: values.slice(from, at) };
    });
  }

  /** Passes that are nearly full come again and again in one shape, so that a graph of it pays. */
  private encoded(pixels: tf.Tensor4D): tf.Tensor3D {
    const count = pixels.shape[0];
    if (lanes() === 1 || count <= GROUP / 2) return this.model.encodeImages(pixels);
    const parts = laneParts(Array.from({ length: count }, (_, i) => i));
    return this.tower.run(parts.map((own) => tf.slice(pixels, own[0]!, own.length)));
  }

  /** Frees the graphs of the tower. */
  dispose(): void {
    this.tower.dispose();
  }
}

/** Where a pass ends that begins at `from`: images of one size, not too many pictures or pixels, at least one image. */
function passEnd(images: readonly Picture[], from: number): number {
  const { height, width } = images[from]!;
  const most = Math.min(GROUP, PIXELS / (height * width));
  let pictures = 0;
  const end = images.findIndex((image, i) => {
    if (i < from) return false;
    pictures += image.count;
    return i > from && (image.height !== height || image.width !== width || pictures > most);
  });
  return end < 0 ? images.length : end;
}

function tensorOf(images: readonly Seen[]): tf.Tensor3D {
  const [, tokens, width] = images[0]!.shape;
  const rows = images.reduce((sum, { shape }) => sum + shape[0], 0);
  const all = new Float32Array(rows * tokens * width);
  put(
    all,
    images.map(({ values }) => ({ data: values })),
  );
  return tf.tensor3d(all, [rows, tokens, width]);
}

/** Numbers one after another. */
function put(all: Float32Array, parts: ReadonlyArray<{ readonly data: Float32Array }>): void {
  let at = 0;
  for (const { data } of parts) {
    all.set(data, at);
    at += data.length;
  }
}

function groups(digests: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(digests.length / GROUP) }, (_, i) => digests.slice(i * GROUP, (i + 1) * GROUP));
}

/** The places of a group's images in it. */
function placesOf(group: readonly string[], images: Images): Place[] {
  const key = sha256(group.join());
  return group.map((_, index) => ({ key, group, index, images }));
}

function placeOf(places: ReadonlyMap<string, Place>, digest: string): Place {
  return places.get(digest) ?? missing(digest);
}

function missing(digest: string): never {
  throw new LiloraError('IntegrityError', `Image ${digest} is not in the prepared data. Submit the dataset again.`);
}
