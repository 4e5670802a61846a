import * as tf from '@tensorflow/tfjs';
import { sha256 } from '../../core/digest.ts';
import { LiloraError } from '../../core/errors.ts';
import type { Picture } from '../../datasets/processor/picture.ts';
import type { Processor } from '../../datasets/processor/processor.ts';
import type { BaseModel } from '../../learning/model/model.ts';
import type { FeatureFiles, Seen } from './feature-files.ts';

/** Images that are looked at together, and pictures (tiles) of one pass through the tower. */
const GROUP = 32;

/** Pixels of one pass: as many as in a group of pictures of 512 × 512. */
const PIXELS = GROUP * 512 * 512;

/** Encoded image files by digest. */
type Encoded = ReadonlyMap<string, Uint8Array>;

/**
 * Vision features. The tower is frozen, so what went through it once is kept while its model is warm. It is kept by
 * group: the low bits of features depend on what shares a pass, so who shares one follows from the data alone (images of
 * a training split in their order, images of one batch of an evaluation) and never from what this process did before.
 * Files keep them beyond this process.
 */
export class Features {
  private readonly model: BaseModel;
  private readonly processor: Processor;
  private readonly files: FeatureFiles | null;
  private readonly known = new Map<string, Seen[]>();

  /** @param files null: kept in memory alone */
  constructor(model: BaseModel, processor: Processor, files: FeatureFiles | null) {
    this.model = model;
    this.processor = processor;
    this.files = files;
  }

  /** The images of whole splits, grouped within each. Gives a source of features for any of them; `onProgress` hears of every group. */
  async ofSplits(
    splits: readonly Encoded[],
    onProgress: () => void,
    signal: AbortSignal,
  ): Promise<(digests: readonly string[]) => tf.Tensor3D> {
    const found = new Map<string, Seen>();
    for (const images of splits)
      for (const group of groups([...images.keys()])) {
        signal.throwIfAborted();
        await this.add(found, group, images);
        onProgress();
      }
    return (digests) => tensorOf(found, digests);
  }

  /** Features of the images of one batch, [rows, tokens, width], one image after another in this order; the caller disposes. */
  async ofBatch(digests: readonly string[], images: Encoded): Promise<tf.Tensor3D> {
    const found = new Map<string, Seen>();
    for (const group of groups([...new Set(digests)])) await this.add(found, group, images);
    return tensorOf(found, digests);
  }

  /** Adds the features of images that are looked at together. */
  private async add(found: Map<string, Seen>, group: readonly string[], images: Encoded): Promise<void> {
    const key = sha256(group.join());
    const features = this.known.get(key) ?? (await this.find(key, group, images));
    this.known.set(key, features);
    for (const [i, digest] of group.entries()) found.set(digest, features[i]!);
  }

  private async find(key: string, group: readonly string[], images: Encoded): Promise<Seen[]> {
    const kept = await this.files?.read(key, group.length);
    if (kept) return kept;
    const features = await this.compute(group, images);
    await this.files?.write(key, features);
    return features;
  }

  private async compute(group: readonly string[], images: Encoded): Promise<Seen[]> {
    const pictures = await Promise.all(group.map((digest) => this.processor.pixels(imageOf(images, digest))));
    const seen: Seen[] = [];
    while (seen.length < pictures.length)
      seen.push(...this.pass(pictures.slice(seen.length, passEnd(pictures, seen.length))));
    return seen;
  }

  /** One pass through the tower: images of one size. */
  private pass(images: readonly Picture[]): Seen[] {
    const { height, width } = images[0]!;
    const count = images.reduce((sum, image) => sum + image.count, 0);
    const features = tf.tidy(() => {
      const all = new Float32Array(count * 3 * height * width);
      put(all, images);
      return this.model.encodeImages(tf.tensor4d(all, [count, 3, height, width]));
    });
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

function tensorOf(found: ReadonlyMap<string, Seen>, digests: readonly string[]): tf.Tensor3D {
  const images = digests.map((digest) => imageOf(found, digest));
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

/** What is there of an image. */
function imageOf<T>(images: ReadonlyMap<string, T>, digest: string): T {
  const found = images.get(digest);
  if (!found)
    throw new LiloraError('IntegrityError', `Image ${digest} is not in the prepared data. Submit the dataset again.`);
  return found;
}
