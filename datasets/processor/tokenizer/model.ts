import { z } from 'zod';
import { LiloraError } from '../../../core/errors.ts';
import { BPE, type LibraryModel, Unigram, WordPiece } from './library.ts';

/** The part of a tokenizer that knows the vocabulary. */
export interface Vocabulary {
  /** Ids of the pieces that a pre-tokenizer made. */
  encode(pieces: readonly string[]): number[];
  readonly ids: ReadonlyMap<string, number>;
  /** Texts by id; holes where no token has the id. */
  readonly texts: readonly (string | undefined)[];
}

const schema = z.looseObject({
  type: z.string().optional(),
  vocab: z.unknown(),
  merges: z.array(z.unknown()).optional(),
  continuing_subword_prefix: z.string().nullish(),
  dropout: z.number().nullish(),
});
const MODELS = { BPE, WordPiece, Unigram } as const;

/** The model of `tokenizer.json`, as the library computes it; `BadModel` for what it does not compute. */
export function openVocabulary(value: unknown): Vocabulary {
  const checked = schema.safeParse(value);
  if (!checked.success) throw bad(`model: ${z.prettifyError(checked.error)}`);
  // Files of the first versions name no type.
  const type = checked.data.type ?? (checked.data.merges ? 'BPE' : 'WordPiece');
  const { continuing_subword_prefix: prefix, dropout } = checked.data;
  if (!Object.hasOwn(MODELS, type))
    throw bad(`no support for a ${type} model; ${Object.keys(MODELS).join(', ')} are read.`);
  if (type === 'BPE' && prefix) throw bad('no support for a BPE model with continuing_subword_prefix.');
  if (dropout) throw bad('no support for dropout: the same text must give the same tokens. Set it to null.');
  let model: LibraryModel;
  try {
    model = new MODELS[type as keyof typeof MODELS](value);
  } catch (error) {
    throw new LiloraError('BadModel', `tokenizer.json: its model cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const ids = model.tokens_to_ids;
  return {
    ids,
    texts: model.vocab,
    encode: (pieces) =>
      model([...pieces]).flatMap((token) => {
        const id = ids.get(token) ?? model.unk_token_id;
        return id === undefined ? [] : [id];
      }),
  };
}

const bad = (problem: string) => new LiloraError('BadModel', `tokenizer.json: ${problem}`);
