import { z } from 'zod';
import { LiloraError } from '../../../core/errors.ts';
import {
  activation,
  answering,
  check,
  decoderConfig,
  depth,
  eps,
  llamaText,
  oneOf,
  part,
  size,
  token,
  tokens,
} from '../config.ts';
import type { LanguageConfig } from '../vision-language.ts';
import type { VisionConfig } from './vision.ts';

/** All that the computation of a LLaVA-1.5 model depends on, from its `config.json`. */
export interface LlavaConfig extends LanguageConfig {
  readonly vision: VisionConfig;
  readonly projector: { readonly activation: string; readonly bias: boolean };
  /** Image features per image: patches, and the class token with strategy `full`. */
  readonly tokensPerImage: number;
}

const vision = z.looseObject({
  model_type: z.literal('clip_vision_model').default('clip_vision_model'),
  hidden_size: size.default(768),
  intermediate_size: size.default(3072),
  num_hidden_layers: depth.default(12),
  num_attention_heads: size.default(12),
  num_channels: z.literal(3).default(3),
  image_size: size.default(224),
  patch_size: size.default(32),
  hidden_act: activation.default('quick_gelu'),
  layer_norm_eps: eps.default(1e-5),
});

/** The tower of LLaVA-1.5 (CLIP ViT-L/14 at 336 pixels), which transformers takes where `vision_config` is absent. */
const DEFAULT_VISION = {
  hidden_size: 1024,
  intermediate_size: 4096,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  image_size: 336,
  patch_size: 14,
};

const schema = z.looseObject({
  model_type: z.literal('llava'),
  text_config: part(llamaText.prefault({})),
  vision_config: part(vision.prefault(DEFAULT_VISION)),
  image_token_index: token.optional(),
  image_token_id: token.optional(),
  projector_hidden_act: activation.default('gelu'),
  multimodal_projector_bias: z.boolean().default(true),
  vision_feature_layer: oneOf(z.int()).default(-2),
  vision_feature_select_strategy: z.enum(['default', 'full']).default('default'),
  tie_word_embeddings: z.boolean().optional(),
  pad_token_id: token.nullish(),
  eos_token_id: tokens,
});

/**
 * Checks and completes a `config.json`. Values that this family does not compute are a `BadModel` that names them.
 * @param json parsed `config.json`
 * @param generation parsed `generation_config.json`, where there is one
 * @param file path for messages
 */
export function llavaConfig(json: unknown, generation: unknown, file: string): LlavaConfig {
  const config = check(schema, json, file);
  const { text_config: t, vision_config: v } = config;
  const bad = (problem: string, next: string): never => {
    throw new LiloraError('BadModel', `${file}: ${problem}. ${next}.`);
  };
  if (v.image_size % v.patch_size !== 0 || v.hidden_size % v.num_attention_heads !== 0) {
    bad('vision_config: image_size must be a multiple of patch_size, hidden_size of the heads', 'Correct the sizes');
  }
  const layers = featureLayers(config.vision_feature_layer, v.num_hidden_layers);
  if (layers === null) bad(`vision_feature_layer ${config.vision_feature_layer} is out of range`, 'Correct it');
  const classToken = config.vision_feature_select_strategy === 'full';
  return {
    vision: {
      width: v.hidden_size,
      inner: v.intermediate_size,
      layers: v.num_hidden_layers,
      heads: v.num_attention_heads,
      imageSize: v.image_size,
      patchSize: v.patch_size,
      activation: v.hidden_act,
      eps: v.layer_norm_eps,
      featureLayers: layers!,
      classToken,
    },
    decoder: decoderConfig(
      t,
      {
        path: 'model.language_model',
        qkvBias: t.attention_bias,
        outBias: t.attention_bias,
        mlpBias: t.mlp_bias,
        tied: config.tie_word_embeddings || t.tie_word_embeddings || false,
        theta: 10000,
      },
      file,
    ),
    projector: { activation: config.projector_hidden_act, bias: config.multimodal_projector_bias },
    tokensPerImage: (v.image_size / v.patch_size) ** 2 + (classToken ? 1 : 0),
    imageToken: config.image_token_index ?? config.image_token_id ?? 32000,
    ...answering(generation, [config, t], file),
  };
}

/** How many tower layers run: hidden state 0 is the embedding, −1 the last layer. Null when there is no such state. */
function featureLayers(index: number, layers: number): number | null {
  const at = index < 0 ? layers + 1 + index : index;
  return at >= 0 && at <= layers ? at : null;
}
