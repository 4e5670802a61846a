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
  part,
  side,
  size,
  token,
  tokens,
} from '../config.ts';
import type { LanguageConfig } from '../vision-language.ts';
import type { VisionConfig } from './vision.ts';

/** All that the computation of an Idefics3 or SmolVLM model depends on, from its `config.json`. */
export interface SmolvlmConfig extends LanguageConfig {
  readonly vision: VisionConfig;
  /** Pixel shuffle: so many patches in a row and in a column become one image token. */
  readonly shuffle: number;
}

const vision = z.looseObject({
  model_type: z
    .enum(['idefics3', 'idefics3_vision', 'smolvlm', 'smolvlm_vision', 'siglip_vision_model'])
    .default('smolvlm_vision'),
  hidden_size: size.default(1152),
  intermediate_size: size.default(3072),
  num_hidden_layers: depth.default(12),
  num_attention_heads: size.default(16),
  num_channels: z.literal(3).default(3),
  image_size: side.default(224),
  patch_size: side.default(32),
  hidden_act: activation.default('gelu_pytorch_tanh'),
  layer_norm_eps: eps.default(1e-6),
});

const schema = z.looseObject({
  model_type: z.enum(['idefics3', 'smolvlm']),
  // Where the text configuration is absent as a whole, its epsilon is 1e-5.
  text_config: part(llamaText.prefault({ rms_norm_eps: 1e-5 })),
  vision_config: part(vision.prefault({})),
  image_token_id: token.default(128257),
  scale_factor: z.int().positive().max(64).default(2),
  tie_word_embeddings: z.boolean().optional(),
  pad_token_id: token.nullish(),
  eos_token_id: tokens,
});

/**
 * Checks and completes a `config.json`. Values that this family does not compute are a `BadModel` that names them.
 * @param generation parsed `generation_config.json`, where there is one
 * @param file path for messages
 */
export function smolvlmConfig(json: unknown, generation: unknown, file: string): SmolvlmConfig {
  const config = check(schema, json, file);
  const { text_config: t, vision_config: v } = config;
  const perSide = Math.floor(v.image_size / v.patch_size);
  if (perSide === 0 || perSide % config.scale_factor !== 0 || v.hidden_size % v.num_attention_heads !== 0) {
    const problem = 'the patches of one side must be a multiple of scale_factor, and hidden_size one of the heads';
    throw new LiloraError('BadModel', `${file}: vision_config: ${problem}. Correct the sizes.`);
  }
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
    },
    shuffle: config.scale_factor,
    decoder: decoderConfig(
      t,
      {
        path: 'model.text_model',
        qkvBias: t.attention_bias,
        outBias: t.attention_bias,
        mlpBias: t.mlp_bias,
        tied: config.tie_word_embeddings ?? t.tie_word_embeddings ?? false,
        theta: 10000,
      },
      file,
    ),
    imageToken: config.image_token_id,
    ...answering(generation, [config, t], file),
  };
}
