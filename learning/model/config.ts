import { z } from 'zod';
import { LiloraError } from '../../core/errors.ts';
import { ACTIVATIONS } from '../tensors/activations.ts';
import type { DecoderConfig } from './decoder.ts';
import { type Generation, readGeneration } from './generation.ts';
import { readRope, ropeSchema } from './rope.ts';

/* Parts of `config.json` that families share. Bounds are far above any real model, so that a damaged file cannot ask for absurd tables. */

export const size = z.int().positive().max(1_000_000);
export const depth = z.int().positive().max(1000);
export const context = z.int().positive().max(1_048_576);
export const headWidth = z.int().positive().max(1024);
export const eps = z.number().positive().max(1);
export const token = z.int().min(0).max(10_000_000);
export const tokens = z.union([token, z.array(token)]).nullish();
export const activation = z.enum(Object.keys(ACTIVATIONS) as [string, ...string[]]);
/** One side of a square that some files give as [side, side]. */
export const side = z.union([
  size,
  z
    .tuple([size, size])
    .refine(([a, b]) => a === b, 'only squares are computed')
    .transform(([a]) => a),
]);

/** A value that some files give as a list of one. */
export const oneOf = <S extends z.ZodType>(value: S) => z.union([value, z.tuple([value]).transform(([only]) => only)]);
/** A part of a configuration; null, as transformers reads it, is a part that is absent. */
export const part = <S extends z.ZodType>(schema: S) => z.preprocess((value) => value ?? undefined, schema);

/** How positions turn: transformers 5 stores `rope_parameters`, transformers 4 `rope_theta` and `rope_scaling`. */
const rope = {
  original_max_position_embeddings: z.number().positive().optional(),
  rope_theta: z.number().positive().optional(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
};

/** Text configuration of a LLaMA. Absent values are the defaults of transformers: hub checkpoints store only the others. */
export const llamaText = z.looseObject({
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
  // Fields of checkpoints that were trained with other code: only the plain LLaMA is computed.
  qk_layer_norms: z.literal(false).optional(),
  use_resampler: z.literal(false).optional(),
  rope_interleaved: z.literal(false).optional(),
  // Its attention has no window, but the cache of transformers forgets by it, and so do its answers.
  sliding_window: size.nullish(),
  ...rope,
  eos_token_id: tokens,
  pad_token_id: token.nullish(),
});

/** Text configuration of a Qwen2, with the defaults of `Qwen2VLTextConfig`. */
export const qwen2Text = z.looseObject({
  model_type: z.enum(['qwen2_vl', 'qwen2_vl_text']).default('qwen2_vl_text'),
  vocab_size: size.default(152064),
  hidden_size: size.default(8192),
  intermediate_size: size.default(29568),
  num_hidden_layers: depth.default(80),
  num_attention_heads: size.default(64),
  num_key_value_heads: size.nullish().default(8),
  head_dim: headWidth.nullish(),
  hidden_act: z.literal('silu').default('silu'),
  max_position_embeddings: context.default(32768),
  rms_norm_eps: eps.default(1e-5),
  use_sliding_window: z.boolean().nullish().default(false),
  sliding_window: size.nullish().default(4096),
  max_window_layers: z.int().min(0).max(1000).nullish().default(80),
  layer_types: z.array(z.enum(['full_attention', 'sliding_attention'])).nullish(),
  tie_word_embeddings: z.boolean().optional(),
  ...rope,
  eos_token_id: tokens.default(151645),
  pad_token_id: token.nullish(),
});

/** What the decoder takes from either; `BadModel` for sizes that do not fit together. */
export function decoderConfig(
  t: z.infer<typeof llamaText> | z.infer<typeof qwen2Text>,
  own: Pick<DecoderConfig, 'path' | 'qkvBias' | 'outBias' | 'mlpBias' | 'tied'> & { readonly theta: number },
  file: string,
): DecoderConfig {
  const { theta, ...rest } = own;
  const kvHeads = t.num_key_value_heads ?? t.num_attention_heads;
  const headSize = t.head_dim ?? t.hidden_size / t.num_attention_heads;
  if (t.num_attention_heads % kvHeads !== 0 || headSize % 2 !== 0 || headSize > 1024) {
    const problem = 'the heads must be a multiple of the key-value heads, and their size even and at most 1024';
    throw new LiloraError('BadModel', `${file}: text_config: ${problem}. Correct the sizes.`);
  }
  if (t.model_type === 'llama' && (t.sliding_window ?? Number.POSITIVE_INFINITY) < t.max_position_embeddings) {
    const problem = `sliding_window ${t.sliding_window} is not computed for a LLaMA`;
    throw new LiloraError('BadModel', `${file}: text_config: ${problem}. Remove it if the model was trained without.`);
  }
  return {
    ...rest,
    width: t.hidden_size,
    inner: t.intermediate_size,
    layers: t.num_hidden_layers,
    heads: t.num_attention_heads,
    kvHeads,
    headSize,
    vocabulary: t.vocab_size,
    contextLength: t.max_position_embeddings,
    eps: t.rms_norm_eps,
    rope: readRope(t, theta, `${file}: text_config`),
  };
}

const generationSchema = z.looseObject({ eos_token_id: tokens, pad_token_id: token.nullish() });

type TokenFields = { readonly eos_token_id?: number | number[] | null; readonly pad_token_id?: number | null };

/** What answers depend on besides the weights. */
export interface Answering {
  readonly endTokens: readonly number[];
  readonly padToken: number;
  /** What greedy decoding heeds beyond the scores; null where it is plain. */
  readonly generation: Generation | null;
}

/**
 * End and padding tokens: what `generation_config.json` says, else the first of the configurations that says it. All
 * other settings are those of `generation_config.json`, and where there is no such file, of the configurations.
 */
export function answering(generation: unknown, configs: readonly TokenFields[], file: string): Answering {
  const at = `${file} (generation_config.json)`;
  const all = [check(generationSchema, generation ?? {}, at), ...configs];
  const first = <T>(values: ReadonlyArray<T | null | undefined>) => values.find((value) => value != null);
  const endTokens = [first(all.map((config) => config.eos_token_id)) ?? 2].flat();
  return {
    endTokens,
    padToken: first(all.map((config) => config.pad_token_id)) ?? endTokens[0] ?? 0,
    generation: generation == null ? readGeneration(configs, file) : readGeneration([generation], at),
  };
}

/** The value with its defaults, or `BadModel` that names the first field that is not supported. */
export function check<S extends z.ZodType>(schema: S, json: unknown, file: string): z.infer<S> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const path = issue.path.join('.') || 'the file';
  const value = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], json);
  const shown = JSON.stringify(value)?.slice(0, 80) ?? 'absent';
  const next = 'This model is not supported, or its configuration is damaged';
  throw new LiloraError('BadModel', `${file}: ${path} is ${shown}: ${issue.message}. ${next}.`);
}
