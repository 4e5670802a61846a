import type { Random } from '../learning/training/random.ts';
import { placeOf, type Scene, type Thing } from './scenes.ts';
import { COLOURS, LETTERS, NAMED_SHAPES, NUMBERS } from './words.ts';

/** A question about a scene, its answer, and other answers that count. */
export interface Question {
  readonly text: string;
  readonly answer: string;
  readonly others?: readonly string[];
}

const pick = <T>(items: readonly T[], random: Random): T => items[random.below(items.length)]!;
const call = ({ colour, shape }: Thing) => `${colour} ${shape}`;
const alone = (scene: Scene) =>
  scene.filter((thing) => scene.filter((other) => other.shape === thing.shape).length === 1);

/** Multiple choice: a fact of the scene among two to four options. */
export function optionQuestion(scene: Scene, random: Random): Question | null {
  const thing = pick(alone(scene), random);
  if (!thing) return null;
  const [text, right, pool] = pick(
    [
      [`what colour is the ${thing.shape}?`, thing.colour, COLOURS],
      [`what shape is at the ${placeOf(thing)}?`, thing.shape, NAMED_SHAPES],
      ['how many shapes are there?', NUMBERS[scene.length]!, NUMBERS.slice(1, 5)],
    ] as const,
    random,
  );
  const wrong = pool.filter((word) => word !== right);
  const count = 2 + random.below(3);
  const options: string[] = [right, ...[...random.permutation(wrong.length)].slice(0, count - 1).map((i) => wrong[i]!)];
  const order = [...random.permutation(options.length)].map((i) => options[i]!);
  const list = order.map((word, i) => `${LETTERS[i]}. ${word}`).join(' ');
  return { text: `${text} ${list}`, answer: LETTERS[order.indexOf(right)]! };
}

/** One sentence about everything in the scene, in three wordings. */
export function captionQuestion(scene: Scene): Question {
  const one = (thing: Thing) => `a ${thing.size} ${call(thing)} at the ${placeOf(thing)}`;
  const all = scene.map(one).join(' and ');
  return {
    text: '',
    answer: `there is ${all}.`,
    others: [`the image contains ${all}.`, `you can see ${all}.`],
  };
}

export const classQuestion = (scene: Scene): Question => ({
  text: 'what is the main object in the image?',
  answer: scene[0]!.shape,
});

/** How one thing lies from another in the same row or column. */
export function relationQuestion(scene: Scene, random: Random): Question | null {
  const [a, b] = [...random.permutation(scene.length)].map((i) => scene[i]!);
  if (!a || !b || call(a) === call(b) || (a.row !== b.row && a.column !== b.column)) return null;
  const answer = a.row < b.row ? 'above' : a.row > b.row ? 'below' : a.column < b.column ? 'left' : 'right';
  return { text: `where is the ${call(a)} compared to the ${call(b)}?`, answer };
}

export function colourQuestion(scene: Scene, random: Random): Question | null {
  const thing = pick(alone(scene), random);
  return thing ? { text: `what colour is the ${thing.shape}?`, answer: thing.colour } : null;
}

/** An open question with a short answer. */
export function openQuestion(scene: Scene, random: Random): Question | null {
  const thing = pick(alone(scene), random);
  if (!thing) return null;
  const colour = pick(COLOURS, random);
  return pick<Question>(
    [
      { text: `what colour is the ${thing.shape}?`, answer: thing.colour },
      { text: `what is the size of the ${call(thing)}?`, answer: thing.size },
      { text: 'how many shapes are in the image?', answer: NUMBERS[scene.length]! },
      { text: `which shape is located at the ${placeOf(thing)}?`, answer: thing.shape },
      { text: `is there a ${colour} shape?`, answer: scene.some((other) => other.colour === colour) ? 'yes' : 'no' },
    ],
    random,
  );
}

/**
 * Instructions per type of answer, after the templates of SMoLoRA and LiLoRA: the first alone in the single-type
 * setting, one of five at random in the five-type setting.
 */
export const INSTRUCTIONS = {
  letter: [
    'answer with the letter of the correct option directly.',
    'choose the correct option and answer with the letter only.',
    'select the letter of the best answer from the given choices.',
    'read the question and pick the letter of the correct answer.',
    'reply with the letter of the following option that is correct.',
  ],
  word: [
    'answer the question using a single word or phrase.',
    'give a short answer of one word or phrase.',
    'reply to the question with a single word.',
    'use one word or a short phrase to answer.',
    'respond to the question using only one word or phrase.',
  ],
  sentence: [
    'describe the image in one complete sentence.',
    'write a caption of the image in one sentence.',
    'tell what is shown in the picture using a single sentence.',
    'give a brief and complete sentence with what you see.',
    'say what appears in the image in one full sentence.',
  ],
  object: [
    'name the object in a single word or phrase.',
    'identify the object in the image with one word.',
    'give the category of the object in a word or phrase.',
    'say what kind of object is shown using one word.',
    'answer with the name of the object only.',
  ],
} as const;
