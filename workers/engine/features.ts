import * as tf from '@tensorflow/tfjs';
import { sha256 } from '../../core/digest.ts';
import { LiloraError } from '../../core/errors.ts';
import type { Processor } from '../../datasets/processor/processor.ts';
import type { BaseModel } from '../../learning/model/model.ts';

/** Images per pass through the tower. */
const GROUP = 32;

/** Encoded image files by digest. */
type Encoded = ReadonlyMap<string, Uint8Array>;

/**
 * Vision features. The tower is frozen, so what went through it once is kept while its model is warm. It is kept by
 * group: the low bits of features depend on what shares a pass, so who shares one follows from the data alone (images of
 * a training split in their order, images of one batch of an evaluation) and never from what this process did before.
 */
export class Features {
  private readonly model: BaseModel;
  private readonly processor: Processor;
  private readonly known = new Map<string, Float32Array[]>();
  private shape: [tokens: number, width: number] = [0, 0];

  constructor(model: BaseModel, processor: Processor) {
    this.model = model;
    this.processor = processor;
  }

  /** The images of a whole split. Gives a source of features for any of them; `onProgress` hears of every group. */
  async ofSplit(
    images: Encoded,
    onProgress: () => void,
    signal: AbortSignal,
  ): Promise<(digests: readonly string[]) => tf.Tensor3D> {
    const found = new Map<string, Float32Array>();
    for (const group of groups([...images.keys()])) {
      signal.throwIfAborted();
      await this.add(found, group, images);
      onProgress();
    }
    return (digests) => this.tensor(found, digests);
  }

  /** Features of the images of one batch, [images, tokens, width] in this order; the caller disposes. */
  async ofBatch(digests: readonly string[], images: Encoded): Promise<tf.Tensor3D> {
    const found = new Map<string, Float32Array>();
    for (const group of groups([...new Set(digests)])) await this.add(found, group, images);
    return this.tensor(found, digests);
  }

  /** Adds the features of images that go through the tower together, [tokens * width] each. */
  private async add(found: Map<string, Float32Array>, group: readonly string[], images: Encoded): Promise<void> {
    const key = sha256(group.join());
    const features = this.known.get(key) ?? (await this.compute(group, images));
    this.known.set(key, features);
    for (const [i, digest] of group.entries()) found.set(digest, features[i]!);
  }

  private async compute(group: readonly string[], images: Encoded): Promise<Float32Array[]> {
    const pixels = await Promise.all(group.map((digest) => this.processor.pixels(imageOf(images, digest))));
    const { height, width } = this.processor.imageSize;
    const features = tf.tidy(() => {
      const all = new Float32Array(pixels.length * pixels[0]!.length);
      for (const [i, values] of pixels.entries()) all.set(values, i * values.length);
      return this.model.encodeImages(tf.tensor4d(all, [pixels.length, 3, height, width]));
    });
    const values = features.dataSync() as Float32Array;
    this.shape = [features.shape[1], features.shape[2]];
    features.dispose();
    const size = this.shape[0] * this.shape[1];
    return group.map((_, i) => values.slice(i * size, (i + 1) * size));
  }

  private tensor(found: ReadonlyMap<string, Float32Array>, digests: readonly string[]): tf.Tensor3D {
    const [tokens, width] = this.shape;
    const all = new Float32Array(digests.length * tokens * width);
    for (const [i, digest] of digests.entries()) all.set(imageOf(found, digest), i * tokens * width);
    return tf.tensor3d(all, [digests.length, tokens, width]);
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
