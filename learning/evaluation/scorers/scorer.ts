/** One answer and what it is compared with. */
export interface Answered {
  readonly text: string;
  /** At least one. */
  readonly references: readonly string[];
}

/** How a task is scored. A change of what a scorer gives is a new version: old scores are not compared with new ones. */
export interface Scorer {
  readonly name: string;
  readonly version: number;
  readonly title: string;
  /** Scores may exceed 100: averages over tasks are also given without it. */
  readonly unbounded?: true;
  /**
   * Score of every answer, in percent (CIDEr may exceed 100); the task's score is their mean, unless there is `overall`.
   * Takes all answers of the test split at once, because CIDEr weighs words by how rare they are there.
   */
  score(answers: readonly Answered[]): number[];
  /** The task's score where that is no mean over answers (BLEU). */
  overall?(answers: readonly Answered[]): number;
  /** Whether the answer has the form that was asked for, right or wrong (methods.md §14, the rules of the released scripts). */
  follows(answer: Answered): boolean;
}

/** A task's score from the answers to its test split and what each of them got, in percent. */
export const taskScore = (scorer: Scorer, answers: readonly Answered[], scores: readonly number[]): number =>
  scorer.overall?.(answers) ?? scores.reduce((a, b) => a + b, 0) / scores.length;

/** A scorer that looks at one answer at a time. */
export function each(test: (text: string, references: readonly string[]) => number): Scorer['score'] {
  return (answers) => answers.map(({ text, references }) => 100 * test(text, references));
}

/** Ignoring case and outer space. */
export const plain = (text: string) => text.trim().toLowerCase();

const words = (text: string) => text.trim().split(/\s+/).filter(Boolean);

/** A word or short phrase: at most two words, or exactly a reference. */
export const shortAnswer: Scorer['follows'] = ({ text, references }) =>
  (words(text).length > 0 && words(text).length <= 2) ||
  references.some((reference) => plain(reference) === plain(text));

/** Exactly one letter. */
export const oneLetter: Scorer['follows'] = ({ text }) => /^[A-Z]$/i.test(text.trim());

/** Four numbers with commas between them, in brackets or not, and nothing else. */
export const oneBox: Scorer['follows'] = ({ text }) => /^\s*\[?(?:\s*-?[\d.]+\s*,){3}\s*-?[\d.]+\s*\]?\s*$/.test(text);

/** A sentence: ends in a full stop, and has more than four words or stands in a reference. */
export const oneSentence: Scorer['follows'] = ({ text, references }) =>
  text.trim().endsWith('.') &&
  (words(text).length > 4 || references.some((reference) => reference.toLowerCase().includes(plain(text))));
