import type { TokenSpan } from '../../core/dataset-view.ts';
import type { EncodedSample } from '../../core/sample.ts';
import type { Tokens } from './tokenizer.ts';

/** Tokens that are taken for one letter, at most: four bytes each, and a token may end one and begin the next. */
const LETTER_TOKENS = 8;

/**
 * Tokens as people read them, in order: each with its text and whether it carries loss. Tokens that only make a letter
 * together are one, and so are image tokens in a row.
 */
export function spansOf(
  { inputIds, labels }: EncodedSample,
  tokenizer: Pick<Tokens, 'encode' | 'decodeAll' | 'textOf' | 'special'>,
  imageToken: number,
): TokenSpan[] {
  const special = new Set(tokenizer.special);
  const isSpecial = (id: number) => special.has(tokenizer.textOf(id) ?? '');
  // Decoders drop the space before the first word: something stands before every token.
  const before = tokenizer.encode('a').find((id) => !isSpecial(id)) ?? 0;
  const start = tokenizer.decodeAll([before]).length;
  const textOf = (ids: readonly number[]) => tokenizer.decodeAll([before, ...ids]).slice(start);
  const ids = [...inputIds];
  const loss = (i: number) => labels !== null && labels[i] !== -100;
  const whole = (i: number) => ids[i] === imageToken || isSpecial(ids[i]!);

  const spans: TokenSpan[] = [];
  for (let i = 0; i < ids.length; ) {
    let end = i + 1;
    if (ids[i] === imageToken) {
      while (end < ids.length && ids[end] === imageToken) end++;
      spans.push({ text: tokenizer.textOf(imageToken) ?? '', loss: false, kind: 'image', count: end - i });
    } else if (isSpecial(ids[i]!)) {
      spans.push({ text: tokenizer.textOf(ids[i]!)!, loss: loss(i), kind: 'special', count: 1 });
    } else {
      let text = textOf(ids.slice(i, end));
      const grows = () => end < ids.length && end - i < LETTER_TOKENS && !whole(end) && loss(end) === loss(i);
      while (text.endsWith('\ufffd') && grows()) text = textOf(ids.slice(i, ++end));
      spans.push({ text, loss: loss(i), kind: 'text', count: end - i });
    }
    i = end;
  }
  return spans;
}
