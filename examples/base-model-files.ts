import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SIDE } from './scenes.ts';
import { WORDS } from './words.ts';

/** Every file of the example base model but its weights, in the Hugging Face layout of LLaVA-1.5. */

const SPECIAL = ['<s>', '</s>', '<unk>', '<pad>', '<image>'] as const;
const [BOS, EOS, , PAD, IMAGE] = SPECIAL.map((_, id) => id) as [number, number, number, number, number];
const special = (content: string, id: number) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

/** The printable stand-ins of the 256 bytes in byte-level tokenizers (as GPT-2 defines them). */
function byteCharacters(): string[] {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}

/** Byte-level tokens, then every word with and without its leading space. Unknown text falls apart into bytes. */
function vocabulary(): Record<string, number> {
  const pieces = [...WORDS, 'USER', 'ASSISTANT'].flatMap((word) => [`Ġ${word}`, word]);
  const tokens = [...new Set([...SPECIAL, ...byteCharacters(), 'Ġ.', 'Ġ,', 'Ġ;', 'Ġ?', ...pieces])];
  return Object.fromEntries(tokens.map((token, id) => [token, id]));
}

function tokenizer(vocab: Record<string, number>) {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map(special),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [
        { SpecialToken: { id: '<s>', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { Sequence: { id: 'B', type_id: 1 } },
      ],
      special_tokens: { '<s>': { id: '<s>', ids: [BOS], tokens: ['<s>'] } },
    },
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: true,
      vocab,
      merges: [],
    },
  };
}

/** LLaVA-1.5 in miniature: the tower's last layer is not used (feature layer −2), as in the real one. */
export function modelConfig(vocabularySize: number) {
  const common = { torch_dtype: 'float32' };
  return {
    architectures: ['LlavaForConditionalGeneration'],
    model_type: 'llava',
    ...common,
    image_token_index: IMAGE,
    image_seq_length: (SIDE / 8) ** 2,
    pad_token_id: PAD,
    projector_hidden_act: 'gelu',
    multimodal_projector_bias: true,
    tie_word_embeddings: true,
    vision_feature_layer: -2,
    vision_feature_select_strategy: 'default',
    text_config: {
      ...common,
      model_type: 'llama',
      architectures: ['LlamaForCausalLM'],
      hidden_act: 'silu',
      hidden_size: 128,
      intermediate_size: 352,
      num_hidden_layers: 4,
      num_attention_heads: 4,
      num_key_value_heads: 4,
      max_position_embeddings: 256,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      attention_bias: false,
      mlp_bias: false,
      tie_word_embeddings: true,
      vocab_size: vocabularySize,
      bos_token_id: BOS,
      eos_token_id: EOS,
      pad_token_id: PAD,
    },
    vision_config: {
      ...common,
      model_type: 'clip_vision_model',
      hidden_act: 'quick_gelu',
      hidden_size: 128,
      intermediate_size: 256,
      num_hidden_layers: 4,
      num_attention_heads: 4,
      num_channels: 3,
      image_size: SIDE,
      patch_size: 8,
      layer_norm_eps: 1e-5,
      projection_dim: 64,
    },
  };
}

export const IMAGE_PROCESSOR = {
  image_processor_type: 'CLIPImageProcessor',
  do_convert_rgb: true,
  do_resize: true,
  size: { shortest_edge: SIDE },
  resample: 3,
  do_center_crop: true,
  crop_size: { height: SIDE, width: SIDE },
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  // The dark ground of the scenes becomes nearly zero: what is drawn on it stands out.
  image_mean: [0.11, 0.11, 0.11],
  image_std: [0.25, 0.25, 0.25],
};

const TEMPLATE =
  "{% for message in messages %}{% if message['role'] == 'user' %}USER: {% for part in message['content'] %}" +
  "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}" +
  "{% elif message['role'] == 'assistant' %} ASSISTANT:{% for part in message['content'] %}{% generation %} {{ part['text'] }}</s>{% endgeneration %}{% endfor %}" +
  '{% endif %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}';

/** Writes configuration, tokenizer, processor and chat template; gives the vocabulary and the parsed config. */
export function writeModelFiles(folder: string) {
  mkdirSync(folder, { recursive: true });
  const vocab = vocabulary();
  const config = modelConfig(Object.keys(vocab).length);
  const generation = { bos_token_id: BOS, eos_token_id: EOS, pad_token_id: PAD, do_sample: false };
  const write = (name: string, value: unknown) =>
    writeFileSync(join(folder, name), `${JSON.stringify(value, null, 1)}\n`);
  write('config.json', config);
  write('generation_config.json', generation);
  write('tokenizer.json', tokenizer(vocab));
  write('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    model_max_length: 256,
    bos_token: '<s>',
    eos_token: '</s>',
    unk_token: '<unk>',
    pad_token: '<pad>',
    padding_side: 'left',
    clean_up_tokenization_spaces: false,
  });
  write('preprocessor_config.json', { ...IMAGE_PROCESSOR, processor_class: 'LlavaProcessor' });
  write('processor_config.json', {
    processor_class: 'LlavaProcessor',
    image_token: '<image>',
    patch_size: 8,
    vision_feature_select_strategy: 'default',
    num_additional_image_tokens: 1,
  });
  writeFileSync(join(folder, 'chat_template.jinja'), TEMPLATE);
  return { vocab, config, generation, tokens: { BOS, EOS, PAD, IMAGE } };
}
