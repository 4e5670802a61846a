import { z } from 'zod';
import { LiloraError } from '../../../core/errors.ts';
import type { Normalizer } from './normalizers.ts';

/** A token that is found in a text before the vocabulary is applied. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Left out of decoded text. */
  readonly special: boolean;
  /** Takes the white space before it, or after it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Is not found within a word. */
  readonly single_word: boolean;
  /** Is looked for in normalized text. */
  readonly normalized: boolean;
}

const flags = {
  content: z.string().min(1),
  special: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  single_word: z.boolean().default(false),
  normalized: z.boolean().optional(),
};
/** How a token stands in any of the files: as its text, or with its flags. */
export const tokenSchema = z.union([z.string().min(1), z.looseObject(flags)]);
export const listedSchema = z.array(z.looseObject({ ...flags, id: z.int().min(0) }));

/** A token as a file names it, without an id. */
export type NamedToken = z.output<typeof tokenSchema>;

/** Adds tokens one after another as the Rust library does: one that is known keeps its id, another gets the next one. */
export class AddedTokens {
  private readonly byText = new Map<string, AddedToken>();
  private readonly vocabulary: ReadonlyMap<string, number>;
  private highest = -1;

  constructor(vocabulary: ReadonlyMap<string, number>) {
    this.vocabulary = vocabulary;
  }

  has(content: string): boolean {
    return this.byText.has(content);
  }

  /**
   * @param special of a token that comes without flags; with flags, whether it is special all the same
   * @param id that the file gives it: another one is a `BadModel`, because the model's embeddings would not fit
   */
  add(token: NamedToken, special: boolean, file: string, id?: number): void {
    const named = typeof token === 'string' ? { content: token } : token;
    const { content, lstrip = false, rstrip = false, single_word = false } = named as Partial<AddedToken>;
    const isSpecial = special || (named as Partial<AddedToken>).special === true;
    const normalized = (named as Partial<AddedToken>).normalized ?? !isSpecial;
    const next = Math.max(this.highest + 1, this.vocabulary.size);
    const given = this.byText.get(content!)?.id ?? this.vocabulary.get(content!) ?? next;
    if (id !== undefined && id !== given) {
      const problem = `the token ${JSON.stringify(content)} has the id ${id}, but its place gives it ${given}`;
      throw new LiloraError('BadModel', `${file}: ${problem}. Save the tokenizer again with transformers.`);
    }
    this.highest = Math.max(this.highest, given);
    const added = { id: given, content: content!, special: isSpecial, lstrip, rstrip, single_word, normalized };
    this.byText.set(content!, added);
  }

  all(): AddedToken[] {
    return [...this.byText.values()];
  }
}

const WORD_BEFORE = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const WORD_AFTER = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const SPACE = /\p{White_Space}/u;

interface Node {
  readonly next: Map<string, Node>;
  token?: AddedToken;
}

/** Finds added tokens in a text: the leftmost, and of several there the longest. */
export class Finder {
  private readonly root: Node = { next: new Map() };

  /** @param normalize of the texts that are looked for */
  constructor(tokens: readonly AddedToken[], normalize: Normalizer = (text) => text) {
    for (const token of tokens) {
      let node = this.root;
      for (const letter of normalize(token.content)) {
        const next = node.next.get(letter) ?? { next: new Map() };
        node.next.set(letter, next);
        node = next;
      }
      if (node !== this.root) node.token = token;
    }
  }

  /** The text in order: pieces without added tokens, and the tokens between them. */
  split(text: string): Array<string | AddedToken> {
    const parts: Array<string | AddedToken> = [];
    let [from, at] = [0, 0];
    while (at < text.length) {
      const found = this.longestAt(text, at);
      if (!found) {
        at++;
        continue;
      }
      const { token, end } = found;
      const [before, after] = [text.slice(Math.max(0, at - 2), at), text.slice(end, end + 2)];
      if (token.single_word && (WORD_BEFORE.test(before) || WORD_AFTER.test(after))) {
        at = end;
        continue;
      }
      let start = at;
      while (token.lstrip && start > from && SPACE.test(text[start - 1]!)) start--;
      if (start > from) parts.push(text.slice(from, start));
      parts.push(token);
      at = end;
      from = end;
      while (token.rstrip && from < text.length && SPACE.test(text[from]!)) from++;
    }
    if (from < text.length) parts.push(text.slice(from));
    return parts;
  }

  private longestAt(text: string, at: number): { token: AddedToken; end: number } | undefined {
    let node: Node | undefined = this.root;
    let found: { token: AddedToken; end: number } | undefined;
    let end = at;
    while (end < text.length) {
      const letter = String.fromCodePoint(text.codePointAt(end)!);
      node = node.next.get(letter);
      if (!node) return found;
      end += letter.length;
      if (node.token) found = { token: node.token, end };
    }
    return found;
  }
}
