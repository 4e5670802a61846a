import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import type { Processor } from '../../datasets/processor/processor.ts';
import type { BaseModel } from '../../learning/model/model.ts';

/** Images per pass through the tower. */
const BATCH = 32;

/**
 * Vision features by image digest. The tower is frozen, so every image goes through it once while its model is warm;
 * later epochs and evaluations of the same images skip it.
 */
export class Features {
  private readonly model: BaseModel;
  private readonly processor: Processor;
  private readonly known = new Map<string, Float32Array>();
  private shape: [tokens: number, width: number] = [0, 0];

  constructor(model: BaseModel, processor: Processor) {
    this.model = model;
    this.processor = processor;
  }

  /** Computes what is missing. `images` are encoded files by digest; `onProgress` hears of every batch. */
  async prepare(
    images: ReadonlyMap<string, Uint8Array>,
    onProgress: (done: number, of: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const missing = [...images].filter(([digest]) => !this.known.has(digest));
    for (let start = 0; start < missing.length; start += BATCH) {
      signal.throwIfAborted();
      const batch = missing.slice(start, start + BATCH);
      const pixels = await Promise.all(batch.map(([, bytes]) => this.processor.pixels(bytes)));
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
      for (const [i, [digest]] of batch.entries()) this.known.set(digest, values.slice(i * size, (i + 1) * size));
      onProgress(Math.min(start + BATCH, missing.length), missing.length);
    }
  }

  /** Features of images in this order, [images, tokens, width]; the caller disposes. */
  readonly source = (digests: readonly string[]): tf.Tensor3D => {
    const [tokens, width] = this.shape;
    const all = new Float32Array(digests.length * tokens * width);
    digests.forEach((digest, i) => {
      const values = this.known.get(digest);
      if (!values)
        throw new LiloraError(
          'IntegrityError',
          `Image ${digest} is not in the prepared data. Submit the dataset again.`,
        );
      all.set(values, i * tokens * width);
    });
    return tf.tensor3d(all, [digests.length, tokens, width]);
  };
}
