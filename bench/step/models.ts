import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalJson, digestOf } from '../../core/json.ts';
import { writeSafetensors } from '../../core/safetensors.ts';
import { defineModel } from '../../learning/model/registry.ts';
import { Random } from '../../learning/training/random.ts';

/** A model of a given shape with random weights, and the batches that are trained on it. */
export interface Shape {
  readonly name: string;
  /** `config.json` of a LLaVA model. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly rows: number;
  /** Tokens per row of text alone, all of them with loss. */
  readonly dense: number;
  /** Per row: image tokens come first, then the prompt, then the answer, which alone has loss. */
  readonly prompt: number;
  readonly answer: number;
}

const tower = (width: number, layers: number, image: number, patch: number) => ({
  model_type: 'clip_vision_model',
  hidden_act: 'quick_gelu',
  hidden_size: width,
  intermediate_size: 4 * width,
  num_hidden_layers: layers,
  num_attention_heads: width / 64,
  num_channels: 3,
  image_size: image,
  patch_size: patch,
  layer_norm_eps: 1e-5,
  projection_dim: width,
});

const decoder = (width: number, inner: number, layers: number, heads: number, kvHeads: number, words: number) => ({
  model_type: 'llama',
  hidden_act: 'silu',
  hidden_size: width,
  intermediate_size: inner,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: kvHeads,
  max_position_embeddings: 1024,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  attention_bias: false,
  mlp_bias: false,
  tie_word_embeddings: true,
  vocab_size: words,
  bos_token_id: 0,
  eos_token_id: 1,
  pad_token_id: 3,
});

const llava = (vision: ReturnType<typeof tower>, text: ReturnType<typeof decoder>) => ({
  architectures: ['LlavaForConditionalGeneration'],
  model_type: 'llava',
  image_token_index: 4,
  image_seq_length: (vision.image_size / vision.patch_size) ** 2,
  pad_token_id: 3,
  projector_hidden_act: 'gelu',
  multimodal_projector_bias: true,
  tie_word_embeddings: true,
  vision_feature_layer: -2,
  vision_feature_select_strategy: 'default',
  text_config: text,
  vision_config: vision,
});

export const SHAPES: readonly Shape[] = [
  {
    name: 'small',
    config: llava(tower(128, 4, 32, 8), decoder(128, 352, 4, 4, 4, 602)),
    rows: 16,
    dense: 40,
    prompt: 16,
    answer: 3,
  },
  {
    name: 'd384',
    config: llava(tower(256, 6, 64, 8), decoder(384, 1024, 6, 6, 6, 4096)),
    rows: 8,
    dense: 128,
    prompt: 40,
    answer: 8,
  },
  {
    // The language model of SmolVLM-256M; its tower is larger than this one.
    name: 'smolvlm-256m',
    config: llava(tower(384, 6, 64, 8), decoder(576, 1536, 30, 9, 3, 49280)),
    rows: 2,
    dense: 128,
    prompt: 40,
    answer: 8,
  },
];

/** The folder of a shape's model, made once. Weights: uniform, of standard deviation 0.02, norms 1. */
export function modelFolder(cache: string, { name, config }: Shape): string {
  const folder = join(cache, `bench-${name}-${digestOf({ config, version: 1 }).slice(0, 12)}`);
  if (existsSync(folder)) return folder;
  const draft = `${folder}.${process.pid}`;
  mkdirSync(draft, { recursive: true });
  const random = new Random(1);
  const tensors = [...defineModel(config).shapes].map(([key, shape]) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const norm = /norm|_layrnorm|layer_norm/.test(key) && key.endsWith('weight');
    const draw = random.split(key);
    const data = norm
      ? new Float32Array(size).fill(1)
      : Float32Array.from({ length: size }, () => (draw.uint32() / 2 ** 32 - 0.5) * 0.02 * Math.sqrt(12));
    return [key, { shape, data }] as const;
  });
  writeFileSync(join(draft, 'config.json'), canonicalJson(config));
  writeFileSync(join(draft, 'model.safetensors'), writeSafetensors(new Map(tensors), { format: 'pt' }));
  try {
    renameSync(draft, folder);
  } catch {
    rmSync(draft, { recursive: true, force: true }); // another run made it first
  }
  return folder;
}
