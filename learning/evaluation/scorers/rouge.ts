import { porterStem } from './porter.ts';

/** Letters a to z and digits in lower case, all else between words: as `rouge_score` cuts a text. */
export function rougeWords(text: string, stem: boolean): string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return stem ? words.map((word) => (word.length > 3 ? porterStem(word) : word)) : words;
}

/** Length of the longest common subsequence. */
function commonLength(a: readonly string[], b: readonly string[]): number {
  let row = new Array<number>(b.length + 1).fill(0);
  for (const word of a) {
    const next = [0];
    for (const [j, other] of b.entries()) next.push(word === other ? row[j]! + 1 : Math.max(row[j + 1]!, next[j]!));
    row = next;
  }
  return row[b.length]!;
}

/**
 * ROUGE-L (Lin, 2004) as Google's rouge-score 0.1.2 gives it: F-measure of the longest common subsequence of words, of
 * the reference that suits best.
 * @param stem its `use_stemmer`: words of more than three letters by their stem
 * @returns 0 to 1; 0 where a text has no word of the letters a to z and digits
 */
export function rougeL(text: string, references: readonly string[], stem = false): number {
  const words = rougeWords(text, stem);
  const each = references.map((reference) => {
    const others = rougeWords(reference, stem);
    const common = commonLength(others, words);
    if (common === 0) return 0;
    const [precision, recall] = [common / words.length, common / others.length];
    return (2 * precision * recall) / (precision + recall);
  });
  return Math.max(...each);
}
