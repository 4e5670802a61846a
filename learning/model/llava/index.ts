import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../../core/errors.ts';
import { ACTIVATIONS } from '../../tensors/activations.ts';
import { linear } from '../../tensors/ops.ts';
import { decoderShapes } from '../decoder.ts';
import type { Adapt } from '../model.ts';
import type { Family } from '../registry.ts';
import { type Eye, VisionLanguageModel } from '../vision-language.ts';
import type { Shapes, Weights } from '../weights.ts';
import { type LlavaConfig, llavaConfig } from './config.ts';
import { canonicalName } from './names.ts';
import { visionFeatures, visionShapes, visionUnused } from './vision.ts';

const PROJECTOR = 'model.multi_modal_projector';

/** LLaVA-1.5 (Liu et al. 2023): a CLIP tower, a projector of two layers, a LLaMA decoder. */
export const llava: Family<LlavaConfig> = {
  name: 'llava',
  config: llavaConfig,
  canonicalName,
  shapes: llavaShapes,
  unused: (name, config) => visionUnused(name, config.vision),
  // With tied weights the file may repeat the embedding as the head; the embedding counts, as in transformers.
  allowed: (name, config) => name === 'lm_head.weight' && config.decoder.tied,
  build: (config, weights, digest) => new VisionLanguageModel('llava', config, eye(config, weights), weights, digest),
};

function llavaShapes(c: LlavaConfig): Shapes {
  const dense = (name: string, input: number): [string, number[]][] => [
    [`${PROJECTOR}.${name}.weight`, [c.decoder.width, input]],
    ...(c.projector.bias ? ([[`${PROJECTOR}.${name}.bias`, [c.decoder.width]]] as [string, number[]][]) : []),
  ];
  return new Map([
    ...visionShapes(c.vision),
    ...dense('linear_1', c.vision.width),
    ...dense('linear_2', c.decoder.width),
    ...decoderShapes(c.decoder),
  ]);
}

function eye(config: LlavaConfig, weights: Weights): Eye {
  const { vision, projector, decoder } = config;
  const dense = (name: string, x: tf.Tensor2D, adapt: Adapt) => {
    const layer = `${PROJECTOR}.${name}`;
    const bias = projector.bias ? weights(`${layer}.bias`) : undefined;
    return adapt(layer, x, linear(x, weights(`${layer}.weight`), bias));
  };
  return {
    layers: [
      { name: `${PROJECTOR}.linear_1`, in: vision.width, out: decoder.width },
      { name: `${PROJECTOR}.linear_2`, in: decoder.width, out: decoder.width },
    ],
    imageTokens: ([images, tokens]) => images * tokens,
    encode: (pixels, beyond) => {
      const [images, ...rest] = pixels.shape;
      if (rest.join() !== `3,${vision.imageSize},${vision.imageSize}`) {
        const problem = `Pixels [${images},${rest}], but the model takes [n,3,${vision.imageSize},${vision.imageSize}]`;
        throw new LiloraError('BadConfig', `${problem}. Use the image processor of this model.`);
      }
      return visionFeatures(pixels, vision, weights, beyond);
    },
    project: (features, adapt) => {
      const x = tf.reshape(features, [-1, vision.width]) as tf.Tensor2D;
      return dense('linear_2', ACTIVATIONS[projector.activation]!(dense('linear_1', x, adapt)), adapt);
    },
  };
}
