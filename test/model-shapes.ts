/** Configurations of published models, as the hub has them, without fields that change no number. */

const llava = (text: object) => ({
  model_type: 'llava',
  image_token_index: 32000,
  pad_token_id: 32001,
  projector_hidden_act: 'gelu',
  text_config: {
    model_type: 'llama',
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
    vocab_size: 32064,
    ...text,
  },
  vision_config: {
    hidden_size: 1024,
    image_size: 336,
    intermediate_size: 4096,
    model_type: 'clip_vision_model',
    num_attention_heads: 16,
    num_hidden_layers: 24,
    patch_size: 14,
    projection_dim: 768,
  },
  vision_feature_layer: -2,
  vision_feature_select_strategy: 'default',
});

const smolText = (text: object) => ({
  model_type: 'llama',
  architectures: ['VLlama3ForCausalLM'],
  head_dim: 64,
  rms_norm_eps: 1e-5,
  qk_layer_norms: false,
  use_resampler: false,
  perceiver_config: { qk_layer_norms_perceiver: false },
  rope_scaling: null,
  tie_word_embeddings: false,
  ...text,
});

const idefics3 = (scale_factor: number, image_token_id: number, text: object, vision: object) => ({
  model_type: 'idefics3',
  architectures: ['Idefics3ForConditionalGeneration'],
  scale_factor,
  image_token_id,
  tie_word_embeddings: false,
  text_config: text,
  vision_config: { model_type: 'siglip_vision_model', ...vision },
});

const SIGLIP_BASE = {
  use_base_siglip: true,
  hidden_size: 768,
  image_size: 512,
  patch_size: 16,
  num_attention_heads: 12,
};
const SIGLIP_SO400M = {
  hidden_size: 1152,
  intermediate_size: 4304,
  num_hidden_layers: 27,
  num_attention_heads: 16,
  patch_size: 14,
};

/** The fields of the text model stand at the top. */
const qwen2vl = (hidden_size: number, text: object) => ({
  model_type: 'qwen2_vl',
  architectures: ['Qwen2VLForConditionalGeneration'],
  eos_token_id: 151645,
  vision_start_token_id: 151652,
  image_token_id: 151655,
  hidden_act: 'silu',
  max_position_embeddings: 32768,
  max_window_layers: 28,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000,
  sliding_window: 32768,
  use_sliding_window: false,
  rope_scaling: { type: 'mrope', mrope_section: [16, 24, 24] },
  hidden_size,
  num_hidden_layers: 28,
  vision_config: {
    depth: 32,
    embed_dim: 1280,
    mlp_ratio: 4,
    num_heads: 16,
    in_chans: 3,
    hidden_size,
    patch_size: 14,
    spatial_merge_size: 2,
    spatial_patch_size: 14,
    temporal_patch_size: 2,
  },
  ...text,
});

export const MODEL_SHAPES = {
  'LLaVA-1.5-7B': llava({}),
  'LLaVA-1.5-13B': llava({
    hidden_size: 5120,
    intermediate_size: 13824,
    num_hidden_layers: 40,
    num_attention_heads: 40,
    num_key_value_heads: 40,
  }),
  'SmolVLM-256M': idefics3(
    4,
    49190,
    smolText({
      hidden_size: 576,
      intermediate_size: 1536,
      num_hidden_layers: 30,
      num_attention_heads: 9,
      num_key_value_heads: 3,
      max_position_embeddings: 8192,
      rope_theta: 100000,
      vocab_size: 49280,
    }),
    SIGLIP_BASE,
  ),
  'SmolVLM-500M': idefics3(
    4,
    49190,
    smolText({
      hidden_size: 960,
      intermediate_size: 2560,
      num_hidden_layers: 32,
      num_attention_heads: 15,
      num_key_value_heads: 5,
      max_position_embeddings: 8192,
      rope_theta: 100000,
      vocab_size: 49280,
    }),
    SIGLIP_BASE,
  ),
  'SmolVLM-2.2B': idefics3(
    3,
    49153,
    smolText({
      hidden_size: 2048,
      intermediate_size: 8192,
      num_hidden_layers: 24,
      num_attention_heads: 32,
      num_key_value_heads: 32,
      max_position_embeddings: 16384,
      rope_theta: 273768,
      vocab_size: 49155,
    }),
    { ...SIGLIP_SO400M, image_size: 384 },
  ),
  'Idefics3-8B': idefics3(
    2,
    128257,
    smolText({
      head_dim: 128,
      hidden_size: 4096,
      intermediate_size: 14336,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      max_position_embeddings: 10240,
      rope_theta: 500000,
      vocab_size: 128259,
    }),
    { ...SIGLIP_SO400M, image_size: 364 },
  ),
  'Qwen2-VL-2B': qwen2vl(1536, {
    intermediate_size: 8960,
    num_attention_heads: 12,
    num_key_value_heads: 2,
    vocab_size: 151936,
    tie_word_embeddings: true,
  }),
  'Qwen2-VL-7B': qwen2vl(3584, {
    intermediate_size: 18944,
    num_attention_heads: 28,
    num_key_value_heads: 4,
    vocab_size: 152064,
    tie_word_embeddings: false,
  }),
} as const;
