import type { Question } from './questions.ts';
import { COLOURS, DIGITS, NUMBERS, SHAPES, SIZES } from './words.ts';

/** What a variation asks for instead of the plain answer. */
interface Style {
  readonly name: string;
  /** Follows the question. */
  readonly instruction: string;
  readonly answer: (answer: string) => string;
}

const LISTS: readonly (readonly string[])[] = [
  DIGITS,
  COLOURS,
  SHAPES,
  SIZES,
  NUMBERS,
  ['above', 'right', 'below', 'left'],
  ['yes', 'no'],
];

/** The word that stands so many places further in the list of its kind. */
const further = (places: number) => (answer: string) => {
  const list = LISTS.find((words) => words.includes(answer));
  return list ? list[(list.indexOf(answer) + places) % list.length]! : answer;
};

const STYLES: readonly Style[] = [
  { name: 'plain', instruction: 'answer the question using a single word or phrase.', answer: (answer) => answer },
  { name: 'sentence', instruction: 'answer with a full sentence.', answer: (answer) => `it is ${answer}.` },
  { name: 'next', instruction: 'name the one that follows.', answer: further(1) },
  { name: 'twice', instruction: 'say the word and repeat it.', answer: (answer) => `${answer} and ${answer}` },
  { name: 'negated', instruction: 'say what it is not.', answer: (answer) => `not ${further(1)(answer)}` },
  { name: 'label', instruction: 'give a label and the answer.', answer: (answer) => `answer: ${answer}` },
  { name: 'second', instruction: 'name the second one that follows.', answer: further(2) },
  { name: 'question', instruction: 'reply with a question.', answer: (answer) => `is it ${answer}?` },
  {
    name: 'pair',
    instruction: 'name it and the one that follows.',
    answer: (answer) => `${answer} ${further(1)(answer)}`,
  },
  { name: 'given', instruction: 'answer with the given words.', answer: (answer) => `the answer is ${answer}` },
];

/** Example tasks whose answers are one word. */
const KINDS = ['digit', 'class', 'relation', 'open', 'colour'] as const;

/** A short task: the questions of an example task, to be answered in another style. */
export interface Variation {
  readonly name: string;
  /** Of the questions. */
  readonly kind: (typeof KINDS)[number];
  readonly instruction: string;
  readonly of: (question: Question) => Question;
}

/** Fifty tasks for long streams: five kinds of questions in ten styles, the kinds in turn. */
export const VARIATIONS: readonly Variation[] = STYLES.flatMap((style) =>
  KINDS.map((kind) => ({
    name: `${kind}-${style.name}`,
    kind,
    instruction: style.instruction,
    of: ({ text, answer }: Question) => ({ text, answer: style.answer(answer) }),
  })),
);
