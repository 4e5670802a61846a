/** The whole language of the example model. Every word is one token. */

export const COLOURS = ['red', 'green', 'blue', 'yellow', 'purple', 'orange', 'white', 'cyan'] as const;
export type Colour = (typeof COLOURS)[number];

/** Shapes that pre-training names. */
export const NAMED_SHAPES = ['circle', 'square', 'triangle', 'diamond', 'cross', 'ring'] as const;
/** Shapes that are drawn in pre-training but never named: only the classification task teaches their names. */
export const UNNAMED_SHAPES = ['star', 'heart', 'moon', 'arrow'] as const;
export const SHAPES = [...NAMED_SHAPES, ...UNNAMED_SHAPES] as const;
export type Shape = (typeof SHAPES)[number];

export const SIZES = ['small', 'large'] as const;
export type Size = (typeof SIZES)[number];

export const ROWS = ['top', 'middle', 'bottom'] as const;
export const COLUMNS = ['left', 'centre', 'right'] as const;

export const NUMBERS = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'] as const;
export const DIGITS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'] as const;
export const LETTERS = ['A', 'B', 'C', 'D', 'E', 'F'] as const;

/** Words of instructions, questions and answers beside those above. */
const OTHERS =
  'a an the is are there of in on at to and or with it this that no yes not nothing ' +
  'above below beside which what where how many who do does can you see shown picture image scene ' +
  'name find count copy list size number digit relate place thing things shape shapes colour object position ' +
  'describe write say tell give read look answer question word words phrase single short using use one-word option options ' +
  'letter letters from given choices directly choose correct sentence complete full brief caption background main class kind type ' +
  'written handwritten compared relation between side same bigger smaller largest smallest total only contains consists ' +
  'please name reply respond select pick best following appears drawn located visible figure figures category identify exactly';

/** Every word of the model's language, each once. */
export const WORDS: readonly string[] = [
  ...new Set([
    ...COLOURS,
    ...SHAPES,
    ...SIZES,
    ...ROWS,
    ...COLUMNS,
    ...NUMBERS,
    ...DIGITS,
    ...LETTERS,
    ...OTHERS.split(' ').filter((word) => !word.includes('-')),
  ]),
];
