import { porterStem } from './porter.ts';
import { treebankWords } from './words.ts';

const ALPHA = 0.9;
const BETA = 3;
const GAMMA = 0.5;

/** Places of words that match: of the answer's word and of the reference's. */
type Match = readonly [answer: number, reference: number];

/** Matches equal words from the end of both; what is left of either stays, by its place. */
function matchEqual(answer: Map<number, string>, reference: Map<number, string>): Match[] {
  const places = new Map<string, number[]>();
  for (const [place, word] of reference) places.set(word, [...(places.get(word) ?? []), place]);
  const matches: Match[] = [];
  for (const [place, word] of [...answer].reverse()) {
    const other = places.get(word)?.pop();
    if (other === undefined) continue;
    matches.push([place, other]);
    answer.delete(place);
    reference.delete(other);
  }
  return matches;
}

/** Runs of matches that follow one another in both texts. */
const chunks = (matches: readonly Match[]) =>
  matches.filter(([a, b], i) => i === 0 || a !== matches[i - 1]![0] + 1 || b !== matches[i - 1]![1] + 1).length;

function against(answerWords: readonly string[], referenceWords: readonly string[]): number {
  const answer = new Map(answerWords.entries());
  const reference = new Map(referenceWords.entries());
  const equal = matchEqual(answer, reference);
  for (const left of [answer, reference]) for (const [place, word] of left) left.set(place, porterStem(word));
  const matches = [...equal, ...matchEqual(answer, reference)].sort(([a], [b]) => a - b);
  if (matches.length === 0) return 0;
  const precision = matches.length / answerWords.length;
  const recall = matches.length / referenceWords.length;
  const mean = (precision * recall) / (ALPHA * precision + (1 - ALPHA) * recall);
  return (1 - GAMMA * (chunks(matches) / matches.length) ** BETA) * mean;
}

const wordsOf = (text: string) => treebankWords(text).map((word) => word.toLowerCase());

/**
 * METEOR without synonyms: words match when they or their stems are equal, α 0.9, β 3, γ 0.5 (Lavie and Agarwal, 2007), the
 * best of the references. The number that NLTK 3.10's `meteor_score` gives for words of its `NLTKWordTokenizer` and a
 * WordNet that knows no word. METEOR 1.5, with WordNet and paraphrases, gives others.
 * @returns 0 to 1
 */
export function meteorStem(text: string, references: readonly string[]): number {
  const words = wordsOf(text);
  return Math.max(...references.map((reference) => against(words, wordsOf(reference))));
}
