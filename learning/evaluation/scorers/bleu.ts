import type { Answered } from './scorer.ts';
import { mtevalWords } from './words.ts';

/**
 * BLEU (Papineni et al., ACL 2002) as sacrebleu 2.6.0 gives it with its defaults: four orders, tokenizer 13a, case kept,
 * exponential smoothing, length of the nearest reference.
 */
const N = 4;

/** What adds up over answers. */
interface Counts {
  readonly length: number;
  /** Of the nearest reference. */
  readonly reference: number;
  /** Of every order: n-grams that a reference has too, and all. */
  readonly correct: readonly number[];
  readonly total: readonly number[];
}

type Grams = ReadonlyMap<string, number>;

/** N-grams of one order. */
function grams(words: readonly string[], n: number): Grams {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= words.length; i++) {
    const gram = words.slice(i, i + n).join(' ');
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

const orders = Array.from({ length: N }, (_, i) => i + 1);

function countsOf({ text, references }: Answered): Counts {
  const words = mtevalWords(text);
  const others = references.map(mtevalWords);
  const nearest = others
    .map((other) => other.length)
    .reduce((best, length) => {
      const nearer = Math.abs(length - words.length) - Math.abs(best - words.length);
      return nearer < 0 || (nearer === 0 && length < best) ? length : best;
    });
  const correct = orders.map((n) => {
    const known = others.map((other) => grams(other, n));
    let sum = 0;
    for (const [gram, count] of grams(words, n))
      sum += Math.min(count, Math.max(...known.map((reference) => reference.get(gram) ?? 0)));
    return sum;
  });
  const total = orders.map((n) => Math.max(0, words.length - n + 1));
  return { length: words.length, reference: nearest, correct, total };
}

/** @param effective only the orders that the answer is long enough for count: sacrebleu's `effective_order` */
function bleuOf({ length, reference, correct, total }: Counts, effective: boolean): number {
  if (correct.every((count) => count === 0)) return 0;
  const brevity = length < reference ? Math.exp(1 - reference / length) : 1;
  let smooth = 1;
  const logs: number[] = [];
  for (const [i, all] of total.entries()) {
    if (all === 0) break;
    if (correct[i] === 0) smooth *= 2;
    logs.push(Math.log((100 * (correct[i] || 1 / smooth)) / all));
  }
  if (!effective && logs.length < N) return 0;
  return brevity * Math.exp(logs.reduce((a, b) => a + b, 0) / logs.length);
}

/** BLEU of one answer: sacrebleu's `sentence_bleu`, in percent. */
export const sentenceBleu = (answer: Answered): number => bleuOf(countsOf(answer), true);

/** BLEU of a test split, counts of all answers together: sacrebleu's `corpus_bleu`, in percent. No mean of sentences. */
export function corpusBleu(answers: readonly Answered[]): number {
  const sum = (a: readonly number[], b: readonly number[]) => a.map((value, i) => value + b[i]!);
  const all = answers.map(countsOf).reduce((a, b) => ({
    length: a.length + b.length,
    reference: a.reference + b.reference,
    correct: sum(a.correct, b.correct),
    total: sum(a.total, b.total),
  }));
  return bleuOf(all, false);
}
