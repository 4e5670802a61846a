import { pythonWords } from './words.ts';

/** A distance of half the length or more counts nothing. */
const THRESHOLD = 0.5;

/** Levenshtein distance in code points. */
function distance(a: readonly string[], b: readonly string[]): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (const [i, letter] of a.entries()) {
    const next = [i + 1];
    for (const [j, other] of b.entries())
      next.push(letter === other ? row[j]! : 1 + Math.min(row[j]!, row[j + 1]!, next[j]!));
    row = next;
  }
  return row[b.length]!;
}

/** Ignoring case and how much space there is. */
const plain = (text: string) => pythonWords(text.toLowerCase()).join(' ');
/** As the released evaluation counts it: ß is two letters there. */
const lengthOf = (text: string) => [...text.toUpperCase()].length;

/**
 * Normalized Levenshtein similarity to the nearest reference, 0 below the threshold: one answer of ANLS, whose mean is the
 * score of DocVQA and ST-VQA (Biten et al., ICCV 2019, arXiv 1905.13648). The same numbers as the package `anls` 0.0.2. An
 * answer at exactly half counts nothing, as the paper defines it; some scripts give it 0.5.
 * @returns 0 to 1
 */
export function anls(text: string, references: readonly string[]): number {
  const answer = plain(text);
  const each = references.map((reference) => {
    const truth = plain(reference);
    const length = Math.max(lengthOf(answer), lengthOf(truth));
    const part = length === 0 ? 0 : distance([...answer], [...truth]) / length;
    return part < THRESHOLD ? 1 - part : 0;
  });
  return Math.max(...each);
}
