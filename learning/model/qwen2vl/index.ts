import * as tf from '@tensorflow/tfjs';
import { ACTIVATIONS } from '../../tensors/activations.ts';
import { decoderShapes } from '../decoder.ts';
import { linearShapes, namedLinear, namedNorm, normShapes } from '../encoder.ts';
import type { Adapt } from '../model.ts';
import type { Family } from '../registry.ts';
import { type Eye, VisionLanguageModel } from '../vision-language.ts';
import type { Weights } from '../weights.ts';
import { type Qwen2vlConfig, qwen2vlConfig } from './config.ts';
import { EPS, TOWER, visionFeatures, visionShapes } from './vision.ts';

const MERGER = `${TOWER}.merger`;

/**
 * Qwen2-VL (Wang et al. 2024) on text and pictures: a tower for any resolution, a merger of neighbouring patches, a Qwen2
 * decoder with positions in time, height and width.
 */
export const qwen2vl: Family<Qwen2vlConfig> = {
  name: 'qwen2_vl',
  config: qwen2vlConfig,
  canonicalName,
  shapes: (c) => {
    const wide = c.vision.width * c.vision.merge ** 2;
    return new Map([
      ...visionShapes(c.vision),
      ...normShapes(`${MERGER}.ln_q`, c.vision.width),
      ...linearShapes(`${MERGER}.mlp.0`, wide, wide),
      ...linearShapes(`${MERGER}.mlp.2`, c.decoder.width, wide),
      ...decoderShapes(c.decoder),
    ]);
  },
  unused: () => false,
  allowed: (name, config) => name === 'lm_head.weight' && config.decoder.tied,
  build: (config, weights, digest) =>
    new VisionLanguageModel('qwen2_vl', config, eye(config, weights), weights, digest),
};

/**
 * Hub checkpoints have `visual.…` and `model.layers.…`; newer transformers save the names in memory, or without `model.`
 * where the head was left out.
 */
function canonicalName(name: string): string {
  return name
    .replace(/^(?=(visual|language_model)\.)/, 'model.')
    .replace(/^model\.(?!language_model\.|visual\.)/, 'model.language_model.');
}

function eye({ vision, decoder }: Qwen2vlConfig, weights: Weights): Eye {
  const wide = vision.width * vision.merge ** 2;
  const dense = (name: string, x: tf.Tensor2D, adapt: Adapt) =>
    adapt(`${MERGER}.${name}`, x, namedLinear(x, `${MERGER}.${name}`, weights));
  return {
    layers: [
      { name: `${MERGER}.mlp.0`, in: wide, out: wide },
      { name: `${MERGER}.mlp.2`, in: wide, out: decoder.width },
    ],
    imageTokens: ([tokens]) => tokens,
    encode: (pixels, beyond) => visionFeatures(pixels, vision, weights, beyond),
    project: (features, adapt) => {
      const flat = tf.reshape(features, [-1, vision.width]) as tf.Tensor2D;
      const x = tf.reshape(namedNorm(flat, `${MERGER}.ln_q`, weights, EPS), [-1, wide]) as tf.Tensor2D;
      return dense('mlp.2', ACTIVATIONS['gelu']!(dense('mlp.0', x, adapt)), adapt);
    },
  };
}
