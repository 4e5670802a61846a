import * as library from '@huggingface/tokenizers';

/** A vocabulary with the algorithm that applies it. */
export interface LibraryModel {
  (pieces: string[]): string[];
  readonly tokens_to_ids: ReadonlyMap<string, number>;
  readonly vocab: ReadonlyArray<string | undefined>;
  readonly unk_token_id?: number;
}

interface Decoding {
  decode_chain(tokens: string[]): string[];
}

/** What is used of the library. Its declarations leave out file endings, so that TypeScript does not find them here. */
export const { BPE, Unigram, WordPiece, BPEDecoder, WordPieceDecoder, SplitPreTokenizer } = library as unknown as {
  readonly BPE: new (config: unknown) => LibraryModel;
  readonly Unigram: new (config: unknown) => LibraryModel;
  readonly WordPiece: new (config: unknown) => LibraryModel;
  readonly BPEDecoder: new (config: unknown) => Decoding;
  readonly WordPieceDecoder: new (config: unknown) => Decoding;
  readonly SplitPreTokenizer: new (config: unknown) => { readonly pattern: RegExp | null };
};
