import { z } from 'zod';
import { LiloraError } from '../../../core/errors.ts';
import { ACTIVATIONS } from '../../tensors/activations.ts';
import type { DecoderConfig } from '../decoder.ts';
import type { VisionConfig } from './vision.ts';

/** All that the computation of a LLaVA-1.5 model depends on, from its `config.json`. */
export interface LlavaConfig {
  readonly vision: VisionConfig;
  readonly decoder: DecoderConfig;
  readonly projector: { readonly activation: string; readonly bias: boolean };
  /** Image features per image: patches, and the class token with strategy `full`. */
  readonly tokensPerImage: number;
  readonly imageToken: number;
  readonly endTokens: readonly number[];
  readonly padToken: number;
}

// Bounds far above any real model, so that a damaged file cannot ask for absurd tables.
const size = z.int().positive().max(1_000_000);
const depth = z.int().positive().max(1000);
const context = z.int().positive().max(131_072);
const headWidth = z.int().positive().max(1024);
const eps = z.number().positive().max(1);
const token = z.int().min(0).max(10_000_000);
const tokens = z.union([token, z.array(token)]).nullish();
const activation = z.enum(Object.keys(ACTIVATIONS) as [string, ...string[]]);
const rope = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
  factor: z.number().positive().optional(),
});

// Absent values are the defaults of transformers' own configuration classes: hub checkpoints store only the others.
const text = z.looseObject({
  model_type: z.literal('llama').default('llama'),
  vocab_size: size.default(32000),
  hidden_size: size.default(4096),
  intermediate_size: size.default(11008),
  num_hidden_layers: depth.default(32),
  num_attention_heads: size.default(32),
  num_key_value_heads: size.nullish(),
  head_dim: headWidth.nullish(),
  hidden_act: z.literal('silu').default('silu'),
  max_position_embeddings: context.default(2048),
  rms_norm_eps: eps.default(1e-6),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().optional(),
  partial_rotary_factor: z.literal(1).optional(),
  rope_theta: z.number().positive().optional(),
  rope_scaling: rope.nullish(),
  rope_parameters: rope.nullish(),
  eos_token_id: tokens,
  pad_token_id: token.nullish(),
});

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
  text_config: text.prefault({}),
  vision_config: vision.prefault(DEFAULT_VISION),
  image_token_index: token.optional(),
  image_token_id: token.optional(),
  projector_hidden_act: activation.default('gelu'),
  multimodal_projector_bias: z.boolean().default(true),
  vision_feature_layer: z.int().default(-2),
  vision_feature_select_strategy: z.enum(['default', 'full']).default('default'),
  tie_word_embeddings: z.boolean().optional(),
  pad_token_id: token.nullish(),
  eos_token_id: tokens,
  quantization_config: z.null().optional(),
});

const generationSchema = z.looseObject({ eos_token_id: tokens, pad_token_id: token.nullish() });

/**
 * Checks and completes a `config.json`. Values that this family does not compute are a `BadModel` that names them.
 * @param json parsed `config.json`
 * @param generation parsed `generation_config.json`, where there is one
 * @param file path for messages
 */
export function llavaConfig(json: unknown, generation: unknown, file: string): LlavaConfig {
  const config = check(schema, json, file);
  const generate = check(generationSchema, generation ?? {}, `${file} (generation_config.json)`);
  const { text_config: t, vision_config: v } = config;
  const bad = (problem: string, next: string): never => {
    throw new LiloraError('BadModel', `${file}: ${problem}. ${next}.`);
  };
  if (v.image_size % v.patch_size !== 0 || v.hidden_size % v.num_attention_heads !== 0) {
    bad('vision_config: image_size must be a multiple of patch_size, hidden_size of the heads', 'Correct the sizes');
  }
  const kvHeads = t.num_key_value_heads ?? t.num_attention_heads;
  const headSize = t.head_dim ?? t.hidden_size / t.num_attention_heads;
  if (t.num_attention_heads % kvHeads !== 0 || headSize % 2 !== 0 || headSize > 1024) {
    bad(
      'text_config: the heads must be a multiple of the key-value heads, and their size even and at most 1024',
      'Correct the sizes',
    );
  }
  const layers = featureLayers(config.vision_feature_layer, v.num_hidden_layers);
  if (layers === null) bad(`vision_feature_layer ${config.vision_feature_layer} is out of range`, 'Correct it');
  const classToken = config.vision_feature_select_strategy === 'full';
  const endTokens = [generate.eos_token_id ?? config.eos_token_id ?? t.eos_token_id ?? 2].flat();
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
    decoder: {
      width: t.hidden_size,
      inner: t.intermediate_size,
      layers: t.num_hidden_layers,
      heads: t.num_attention_heads,
      kvHeads,
      headSize,
      vocabulary: t.vocab_size,
      contextLength: t.max_position_embeddings,
      eps: t.rms_norm_eps,
      attentionBias: t.attention_bias,
      mlpBias: t.mlp_bias,
      tied: config.tie_word_embeddings ?? t.tie_word_embeddings ?? false,
      rope: ropeConfig(t, file),
    },
    projector: { activation: config.projector_hidden_act, bias: config.multimodal_projector_bias },
    tokensPerImage: (v.image_size / v.patch_size) ** 2 + (classToken ? 1 : 0),
    imageToken: config.image_token_index ?? config.image_token_id ?? 32000,
    endTokens,
    padToken: generate.pad_token_id ?? config.pad_token_id ?? t.pad_token_id ?? endTokens[0] ?? 0,
  };
}

/** How many tower layers run: hidden state 0 is the embedding, −1 the last layer. Null when there is no such state. */
function featureLayers(index: number, layers: number): number | null {
  const at = index < 0 ? layers + 1 + index : index;
  return at >= 0 && at <= layers ? at : null;
}

/** transformers 5 stores `rope_parameters`, transformers 4 `rope_theta` and `rope_scaling`. */
function ropeConfig(t: z.infer<typeof text>, file: string): DecoderConfig['rope'] {
  const given = t.rope_parameters ?? t.rope_scaling ?? {};
  const type = given.rope_type ?? given.type ?? 'default';
  const theta = given.rope_theta ?? t.rope_theta ?? 10000;
  if (type === 'default') return { theta, factor: 1 };
  if (type === 'linear' && given.factor !== undefined) return { theta, factor: given.factor };
  const problem = type === 'linear' ? 'RoPE type "linear" without a factor' : `RoPE type ${JSON.stringify(type)}`;
  throw new LiloraError('BadModel', `${file}: text_config: ${problem}. Only "default" and "linear" are computed.`);
}

function check<S extends z.ZodType>(schema: S, json: unknown, file: string): z.infer<S> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const path = issue.path.join('.') || 'the file';
  const value = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], json);
  const shown = JSON.stringify(value)?.slice(0, 80) ?? 'absent';
  const next = 'This model is not supported, or its configuration is damaged';
  throw new LiloraError('BadModel', `${file}: ${path} is ${shown}: ${issue.message}. ${next}.`);
}
