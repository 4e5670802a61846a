import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { LiloraError } from '../../core/errors.ts';
import { parseJson } from '../../core/json.ts';

/** A model's tokenizer with what the rest of the processor asks of it. */
export interface Tokens {
  /** Ids with the special tokens that the tokenizer adds by itself (BOS), unless the text has them already. */
  encode(text: string): number[];
  /** Text without special tokens. */
  decode(ids: readonly number[]): string;
  /** Text with special tokens. */
  decodeAll(ids: readonly number[]): string;
  idOf(token: string): number | undefined;
  textOf(id: number): string | undefined;
  /** Every special token's text. */
  readonly special: readonly string[];
  /** `bos_token`, `eos_token` and so on, as templates name them. */
  readonly names: Readonly<Record<string, string>>;
}

const MODELS = ['BPE', 'WordPiece', 'Unigram'];

const fileSchema = z.looseObject({
  model: z.looseObject({ type: z.string() }),
  added_tokens: z.array(z.looseObject({ content: z.string(), special: z.boolean().default(false) })).default([]),
});

/** Reads `tokenizer.json` and `tokenizer_config.json`. What the library does not compute exactly is a `BadModel`. */
export async function openTokenizer(folder: string): Promise<Tokens> {
  const read = async (name: string): Promise<unknown> => {
    const bytes = await readFile(join(folder, name)).catch(() => {
      throw new LiloraError(
        'BadModel',
        `${join(folder, name)} does not exist. Use a model folder with a fast tokenizer.`,
      );
    });
    // Vocabularies hold words such as `constructor`; they end in a Map, never as names of properties.
    return parseJson(bytes, name, { errorName: 'BadModel', anyKeys: true });
  };
  const json = await read('tokenizer.json');
  const config = (await read('tokenizer_config.json')) as Record<string, unknown>;
  const checked = fileSchema.safeParse(json);
  if (!checked.success) throw new LiloraError('BadModel', `tokenizer.json: ${z.prettifyError(checked.error)}`);
  const { model, added_tokens } = checked.data;
  if (!MODELS.includes(model.type))
    throw new LiloraError(
      'BadModel',
      `tokenizer.json: no support for a ${model.type} model; ${MODELS.join(', ')} are read.`,
    );
  const tokenizer = new Tokenizer(json as object, config);
  correctByteFallback(tokenizer.decoder);

  const names: Record<string, string> = {};
  // transformers 5 keeps a model's own names apart, as `model_specific_special_tokens` or `extra_special_tokens`.
  const groups = [config['extra_special_tokens'], config['model_specific_special_tokens'], config];
  for (const [name, value] of groups.flatMap((group) => (isRecord(group) ? Object.entries(group) : []))) {
    const content = typeof value === 'object' && value !== null ? (value as { content?: unknown }).content : value;
    if (/^[a-z_]+_token$/.test(name) && typeof content === 'string') names[name] = content;
  }
  const special = added_tokens.filter((token) => token.special).map(({ content }) => content);
  const bos = names['bos_token'];
  const decode = (ids: readonly number[], skip_special_tokens: boolean) =>
    ids.length === 0 ? '' : tokenizer.decode([...ids], { skip_special_tokens, clean_up_tokenization_spaces: false });
  return {
    encode: (text) => tokenizer.encode(text, { add_special_tokens: bos === undefined || !text.startsWith(bos) }).ids,
    decode: (ids) => decode(ids, true),
    decodeAll: (ids) => decode(ids, false),
    idOf: (token) => tokenizer.token_to_id(token),
    textOf: (id) => tokenizer.id_to_token(id),
    special,
    names,
  };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

interface DecoderStep {
  readonly type?: string;
  readonly config?: { readonly type?: string };
  readonly decoders?: readonly DecoderStep[];
  decode_chain(tokens: string[]): string[];
}

/**
 * Runs of byte tokens (`<0x41>`) that are no UTF-8 become one U+FFFD per byte, as the Rust library has it; the JavaScript
 * one decodes their valid parts.
 */
function correctByteFallback(decoder: unknown): void {
  const step = decoder as DecoderStep | null;
  for (const inner of step?.decoders ?? []) correctByteFallback(inner);
  if ((step?.config?.type ?? step?.type) !== 'ByteFallback') return;
  step!.decode_chain = (tokens) => {
    const texts: string[] = [];
    let bytes: number[] = [];
    const flush = () => {
      if (bytes.length === 0) return;
      try {
        texts.push(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)));
      } catch {
        texts.push('\ufffd'.repeat(bytes.length));
      }
      bytes = [];
    };
    for (const token of tokens) {
      const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
      if (byte !== undefined) bytes.push(Number.parseInt(byte, 16));
      else {
        flush();
        texts.push(token);
      }
    }
    flush();
    return texts;
  };
}
