import type * as tf from '@tensorflow/tfjs';
import type { EncodedSample } from '../../core/sample.ts';

/** Vision features of images in this order, [images, tokens, width]; who asks for them disposes of them. */
export interface FeatureSource {
  (digests: readonly string[]): tf.Tensor3D;
  /** Fetches features that are not in memory, so that they can be asked for until it is called again. */
  readonly ready?: (digests: readonly string[]) => Promise<void>;
}

/** Sees to the features of a batch. */
export async function featuresReady(source: FeatureSource, samples: readonly EncodedSample[]): Promise<void> {
  if (source.ready) await source.ready(samples.flatMap(({ images }) => images));
}
