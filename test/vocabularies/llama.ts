import llama from 'llama-tokenizer-js';

/**
 * `tokenizer.json` and `tokenizer_config.json` with LLaMA's own vocabulary at its real size, laid out as LLaVA-1.5 has them:
 * 32000 words, then the tokens of LLaVA.
 * The words and merges are those that the package llama-tokenizer-js took out of the published tokenizer.json.
 */
export function llamaTokenizer() {
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const added = [
    ...[0, 1, 2].map((id) => [id, llama.vocabById[id]!] as const),
    [LLAVA.image, '<image>'] as const,
    [LLAVA.pad, '<pad>'] as const,
  ];
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added.map(([id, content]) => ({ id, content, ...special })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [
        { SpecialToken: { id: '<s>', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '<s>', type_id: 1 } },
        { Sequence: { id: 'B', type_id: 1 } },
      ],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(llama.vocabById.map((word, id) => [word, id])),
      merges: [...llama.merges.keys()],
    },
  };
  const config = {
    add_bos_token: true,
    add_eos_token: false,
    added_tokens_decoder: Object.fromEntries(added.map(([id, content]) => [`${id}`, { content, ...special }])),
    bos_token: '<s>',
    clean_up_tokenization_spaces: false,
    eos_token: '</s>',
    legacy: false,
    model_max_length: 512,
    pad_token: '<pad>',
    padding_side: 'left',
    processor_class: 'LlavaProcessor',
    tokenizer_class: 'LlamaTokenizer',
    unk_token: '<unk>',
    use_default_system_prompt: false,
  };
  return { tokenizer, config };
}

/** Ids and size as `llava-hf/llava-1.5-7b-hf` has them. */
export const LLAVA = { image: 32000, pad: 32001, vocabulary: 32064 } as const;
