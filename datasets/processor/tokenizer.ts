import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { LiloraError } from '../../core/errors.ts';
import { parseJson } from '../../core/json.ts';
import { IMAGE_MARKER, LITERAL_IMAGE } from '../../core/sample.ts';
import { type AddedToken, AddedTokens, Finder, listedSchema, tokenSchema } from './tokenizer/added-tokens.ts';
import { openDecoder } from './tokenizer/decoders.ts';
import { openVocabulary } from './tokenizer/model.ts';
import { openNormalizer } from './tokenizer/normalizers.ts';
import { openPostProcessor } from './tokenizer/post-processors.ts';
import { openPreTokenizer } from './tokenizer/pre-tokenizers.ts';
import type { Step } from './tokenizer/steps.ts';

/** A model's tokenizer with what the rest of the processor asks of it. */
export interface Tokens {
  /**
   * Ids with the special tokens that the tokenizer adds by itself (BOS), unless the text has them already. `LITERAL_IMAGE`
   * is encoded as the letters of `<image>`, even where that is a token.
   */
  encode(text: string): number[];
  /** Text without special tokens, except those of `kept`. */
  decode(ids: readonly number[], kept?: ReadonlySet<string>): string;
  /** Text with special tokens. */
  decodeAll(ids: readonly number[]): string;
  idOf(token: string): number | undefined;
  textOf(id: number): string | undefined;
  /** Every special token's text. */
  readonly special: readonly string[];
  /** `bos_token`, `eos_token` and so on, as templates name them. */
  readonly names: Readonly<Record<string, string>>;
}

const step = z.custom<Step>((value) => isRecord(value), 'is no object').nullish();
const fileSchema = z.looseObject({
  model: z.unknown(),
  added_tokens: listedSchema.default([]),
  normalizer: step,
  pre_tokenizer: step,
  post_processor: step,
  decoder: step,
});

/** Reads a model folder's tokenizer as transformers does. What is not computed exactly is a `BadModel`. */
export async function openTokenizer(folder: string): Promise<Tokens> {
  const files = await readFiles(folder);
  const parsed = fileSchema.safeParse(files.tokenizer);
  if (!parsed.success) throw new LiloraError('BadModel', `tokenizer.json: ${z.prettifyError(parsed.error)}`);
  const json = parsed.data;
  const vocabulary = openVocabulary(json.model);
  const names = namesOf(files);
  const added = addedTokens(json.added_tokens, files, names, vocabulary.ids);

  const normalize = openNormalizer(json.normalizer ?? null);
  const cut = openPreTokenizer(json.pre_tokenizer ?? null);
  const around = openPostProcessor(json.post_processor ?? null);
  const decoder = openDecoder(json.decoder ?? null);
  const raw = new Finder(added.filter(({ normalized }) => !normalized));
  const normalized = new Finder(
    added.filter((token) => token.normalized),
    normalize,
  );

  const pieceIds = (text: string, first: boolean) =>
    vocabulary.encode(cut(text.replaceAll(LITERAL_IMAGE, IMAGE_MARKER), first));
  const textIds = (text: string) =>
    raw.split(text).flatMap((part, i) => {
      if (typeof part !== 'string') return [part.id];
      const parts = normalized.split(normalize(part));
      return parts.flatMap((piece, k) => (typeof piece === 'string' ? pieceIds(piece, i + k === 0) : [piece.id]));
    });

  const byId = new Map(added.map((token) => [token.id, token]));
  const byText = new Map(added.map((token) => [token.content, token]));
  const textOf = (id: number) => byId.get(id)?.content ?? vocabulary.texts[id];
  const decode = (ids: readonly number[], keeps: (token: AddedToken) => boolean) => {
    const tokens = ids.flatMap((id) => {
      const text = textOf(id);
      const token = text === undefined ? undefined : byText.get(text);
      return text === undefined || (token && !keeps(token)) ? [] : [text];
    });
    return tokens.length === 0 ? '' : decoder(tokens).join('');
  };
  const bos = names['bos_token'];
  return {
    encode: (text) => {
      const ids = textIds(text);
      return bos !== undefined && text.startsWith(bos) ? ids : [...around.before, ...ids, ...around.after];
    },
    decode: (ids, kept) => decode(ids, ({ special, content }) => !special || kept?.has(content) === true),
    decodeAll: (ids) => decode(ids, () => true),
    idOf: (token) => byText.get(token)?.id ?? vocabulary.ids.get(token),
    textOf,
    special: added.filter(({ special }) => special).map(({ content }) => content),
    names,
  };
}

interface Files {
  readonly tokenizer: unknown;
  readonly config: Readonly<Record<string, unknown>>;
  /** Files of older versions, read as transformers does: only where `tokenizer_config.json` lists no tokens. */
  readonly specialMap: Readonly<Record<string, unknown>>;
  readonly addedJson: Readonly<Record<string, unknown>>;
}

async function readFiles(folder: string): Promise<Files> {
  const read = async (name: string): Promise<unknown> => {
    const bytes = await readFile(join(folder, name)).catch(() => null);
    // Vocabularies hold words such as `constructor`; they end in a Map, never as names of properties.
    return bytes && parseJson(bytes, name, { errorName: 'BadModel', anyKeys: true, nonFinite: true });
  };
  const record = async (name: string) => {
    const value = (await read(name)) ?? {};
    if (isRecord(value)) return value;
    throw new LiloraError('BadModel', `${name}: is no JSON object. Correct the file.`);
  };
  const tokenizer = await read('tokenizer.json');
  if (tokenizer === null) {
    const file = join(folder, 'tokenizer.json');
    const remedy =
      'Use a model folder with a fast tokenizer, or save one: AutoTokenizer.from_pretrained(…).save_pretrained(…).';
    throw new LiloraError('BadModel', `${file} does not exist. ${remedy}`);
  }
  const config = await record('tokenizer_config.json');
  const old = config['added_tokens_decoder'] === undefined;
  const [specialMap, addedJson] = old
    ? [await record('special_tokens_map.json'), await record('added_tokens.json')]
    : [{}, {}];
  return { tokenizer, config, specialMap, addedJson };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const contentOf = (value: unknown) => (isRecord(value) ? value['content'] : value);

/** Special tokens by name; what names a token later in the list wins. */
function namesOf({ config, specialMap }: Files): Record<string, string> {
  // transformers 5 keeps a model's own names apart, as `model_specific_special_tokens` or `extra_special_tokens`.
  const groups = [
    config['extra_special_tokens'],
    config['model_specific_special_tokens'],
    config,
    specialMap['extra_special_tokens'],
    specialMap,
  ];
  const names: Record<string, string> = {};
  for (const [name, value] of groups.flatMap((group) => (isRecord(group) ? Object.entries(group) : []))) {
    const content = contentOf(value);
    if (/^[a-z_]+_token$/.test(name) && typeof content === 'string') names[name] = content;
  }
  return names;
}

/** The added tokens of every file, in the order in which transformers adds them. */
function addedTokens(
  listed: z.output<typeof listedSchema>,
  { config, specialMap, addedJson }: Files,
  names: Readonly<Record<string, string>>,
  vocabulary: ReadonlyMap<string, number>,
): AddedToken[] {
  const tokens = new AddedTokens(vocabulary);
  const check = (value: unknown, file: string) => {
    const result = tokenSchema.safeParse(value);
    if (result.success) return result.data;
    throw new LiloraError(
      'BadModel',
      `${file}: a token is neither a text nor an object with content. Correct the file.`,
    );
  };
  for (const { id, ...token } of listed) tokens.add(token, false, 'tokenizer.json', id);
  const named = new Set(Object.values(names));
  const byId = (entries: Array<[id: number, token: unknown]>) => entries.toSorted(([a], [b]) => a - b);
  const decoder = isRecord(config['added_tokens_decoder']) ? Object.entries(config['added_tokens_decoder']) : [];
  for (const [id, value] of byId(decoder.map(([id, value]) => [Number(id), value]))) {
    const token = check(value, 'tokenizer_config.json');
    tokens.add(token, named.has(String(contentOf(token))), 'tokenizer_config.json', id);
  }
  const extra = [
    config['extra_special_tokens'] ?? config['additional_special_tokens'],
    specialMap['extra_special_tokens'],
  ];
  const extras = extra.flatMap((list) => (Array.isArray(list) ? (list as unknown[]) : []));
  const special = new Set([...named, ...extras.map((token) => String(contentOf(token)))]);
  for (const [id, content] of byId(Object.entries(addedJson).map(([content, id]) => [Number(id), content])))
    if (!tokens.has(String(content)))
      tokens.add(String(content), special.has(String(content)), 'added_tokens.json', id);
  for (const value of [...Object.values(names), ...extras]) {
    const token = check(value, 'tokenizer_config.json');
    if (!tokens.has(String(contentOf(token)))) tokens.add(token, true, 'tokenizer_config.json');
  }
  return tokens.all();
}
