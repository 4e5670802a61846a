import { z } from 'zod';
import { LiloraError } from '../../../core/errors.ts';
import {
  activation,
  answering,
  check,
  decoderConfig,
  depth,
  part,
  qwen2Text,
  side,
  size,
  token,
  tokens,
} from '../config.ts';
import { ropeGiven } from '../rope.ts';
import type { LanguageConfig } from '../vision-language.ts';
import type { VisionConfig } from './vision.ts';

/** All that the computation of a Qwen2-VL model depends on, from its `config.json`. */
export interface Qwen2vlConfig extends LanguageConfig {
  readonly vision: VisionConfig;
}

const vision = z.looseObject({
  model_type: z.enum(['qwen2_vl', 'qwen2_vl_vision']).default('qwen2_vl_vision'),
  depth: depth.default(32),
  embed_dim: size.default(1280),
  hidden_size: size.default(3584),
  hidden_act: activation.default('quick_gelu'),
  mlp_ratio: z.number().positive().max(64).default(4),
  num_heads: size.default(16),
  in_channels: z.literal(3).default(3),
  in_chans: z.literal(3).optional(),
  patch_size: side.default(14),
  spatial_merge_size: z.int().positive().max(64).default(2),
  temporal_patch_size: z.int().positive().max(64).default(2),
  rope_parameters: z
    .looseObject({ rope_type: z.literal('axial').default('axial'), rope_theta: z.number().positive().default(10000) })
    .nullish(),
});

const schema = z.looseObject({
  model_type: z.literal('qwen2_vl'),
  text_config: qwen2Text.nullish(),
  vision_config: part(vision.prefault({})),
  image_token_id: token.default(151655),
  tie_word_embeddings: z.boolean().optional(),
  pad_token_id: token.nullish(),
  eos_token_id: tokens,
});

/**
 * Checks and completes a `config.json`. Values that this family does not compute are a `BadModel` that names them.
 * @param generation parsed `generation_config.json`, where there is one
 * @param file path for messages
 */
export function qwen2vlConfig(json: unknown, generation: unknown, file: string): Qwen2vlConfig {
  const config = check(schema, json, file);
  // Checkpoints on the hub hold the fields of the text model at the top.
  const t = config.text_config ?? check(qwen2Text, json, file);
  const { vision_config: v } = config;
  const bad = (problem: string): never => {
    throw new LiloraError('BadModel', `${file}: ${problem}. Correct the sizes.`);
  };
  const decoder = decoderConfig(
    t,
    {
      path: 'model.language_model',
      qkvBias: true,
      outBias: false,
      mlpBias: false,
      tied: config.tie_word_embeddings || t.tie_word_embeddings || false,
      theta: 1e6,
    },
    file,
  );
  const sections = ropeGiven(t).mrope_section ?? [16, 24, 24];
  if (sections.reduce((a, b) => a + b, 0) * 2 !== decoder.headSize)
    bad(`text_config: mrope_section [${sections}] must add up to half of the head size, ${decoder.headSize / 2}`);
  if (decoder.headSize * decoder.heads !== decoder.width)
    bad(`text_config: head_dim ${decoder.headSize} is not hidden_size / num_attention_heads`);
  if (v.hidden_size !== decoder.width)
    bad(`vision_config: hidden_size ${v.hidden_size} is not that of the text model, ${decoder.width}`);
  if (v.embed_dim % (4 * v.num_heads) !== 0) bad('vision_config: embed_dim must be a multiple of 4 times num_heads');
  return {
    vision: {
      width: v.embed_dim,
      inner: Math.trunc(v.embed_dim * v.mlp_ratio),
      layers: v.depth,
      heads: v.num_heads,
      patchSize: v.patch_size,
      frames: v.temporal_patch_size,
      merge: v.spatial_merge_size,
      activation: v.hidden_act,
      theta: v.rope_parameters?.rope_theta ?? 10000,
    },
    decoder: { ...decoder, ropeSections: sections, windows: windows(t, file) },
    imageToken: config.image_token_id,
    ...answering(generation, [config, t], file),
  };
}

/** How many tokens back every layer looks; null: all. */
function windows(t: z.infer<typeof qwen2Text>, file: string): Array<number | null> {
  const window = t.use_sliding_window ? (t.sliding_window ?? null) : null;
  const slides = t.layer_types?.map((type) => type === 'sliding_attention');
  if (slides && (slides.length !== t.num_hidden_layers || (window === null && slides.includes(true)))) {
    const problem = 'layer_types must name every layer, and sliding ones need use_sliding_window and sliding_window';
    throw new LiloraError('BadModel', `${file}: text_config: ${problem}. Correct them.`);
  }
  const first = t.max_window_layers ?? 0;
  return Array.from({ length: t.num_hidden_layers }, (_, i) => ((slides?.[i] ?? i >= first) ? window : null));
}
