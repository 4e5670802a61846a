import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../../core/errors.ts';
import { linear } from '../../tensors/ops.ts';
import { decoderShapes } from '../decoder.ts';
import type { Family } from '../registry.ts';
import { type Eye, VisionLanguageModel } from '../vision-language.ts';
import type { Weights } from '../weights.ts';
import { type SmolvlmConfig, smolvlmConfig } from './config.ts';
import { visionFeatures, visionShapes } from './vision.ts';

const PROJECTION = 'model.connector.modality_projection.proj';

/**
 * Idefics3 (Laurençon et al. 2024) and SmolVLM (Marafioti et al. 2025), one architecture under two names: a SigLIP tower
 * on tiles, pixel shuffle, one linear layer, a LLaMA decoder.
 */
export const smolvlmFamily = (name: 'idefics3' | 'smolvlm'): Family<SmolvlmConfig> => ({
  name,
  config: smolvlmConfig,
  // Files of the model without its head lack the first word.
  canonicalName: (tensor) => tensor.replace(/^(?=(text_model|vision_model|connector)\.)/, 'model.'),
  shapes: (c) =>
    new Map([
      ...visionShapes(c.vision),
      [`${PROJECTION}.weight`, [c.decoder.width, c.vision.width * c.shuffle ** 2]],
      ...decoderShapes(c.decoder),
    ]),
  unused: () => false,
  allowed: (tensor, config) => tensor === 'lm_head.weight' && config.decoder.tied,
  build: (config, weights, digest) => new VisionLanguageModel(name, config, eye(config, weights), weights, digest),
});

function eye({ vision, shuffle, decoder }: SmolvlmConfig, weights: Weights): Eye {
  const wide = vision.width * shuffle ** 2;
  return {
    layers: [{ name: PROJECTION, in: wide, out: decoder.width }],
    imageTokens: ([tiles, patches]) => tiles * (patches / shuffle ** 2),
    encode: (pixels, beyond) => visionFeatures(pixels, vision, weights, beyond),
    project: (features, adapt) => {
      const x = pixelShuffle(features, shuffle);
      return adapt(PROJECTION, x, linear(x, weights(`${PROJECTION}.weight`)));
    },
  };
}

/** Squares of patches side by side as one token: [tiles, patches, width] → [tiles * patches / factor², width · factor²]. */
function pixelShuffle(features: tf.Tensor3D, factor: number): tf.Tensor2D {
  const [tiles, patches, width] = features.shape;
  const side = Math.sqrt(patches) / factor;
  if (!Number.isInteger(side)) {
    const problem = `${patches} patches of a tile are no square that ${factor} divides`;
    throw new LiloraError('BadConfig', `${problem}. Use the image processor of this model.`);
  }
  const cut = tf.reshape(features, [tiles, side, factor, side, factor * width]);
  return tf.reshape(tf.transpose(cut, [0, 1, 3, 2, 4]), [tiles * side * side, factor * factor * width]) as tf.Tensor2D;
}
