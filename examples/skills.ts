import type { Random } from '../learning/training/random.ts';
import { placeOf, type Scene, type Thing } from './scenes.ts';
import { COLOURS, LETTERS, NAMED_SHAPES, NUMBERS, type Shape, WORDS } from './words.ts';

/**
 * What pre-training teaches: to see and to speak, never in the question formats of the tasks. Each skill makes a prompt
 * and its answer for a scene; null when the scene does not lend itself to it.
 */
export type Turn = readonly [prompt: string, answer: string];
export type Skill = (scene: Scene, random: Random) => Turn | null;

const named = (shape: Shape) => (NAMED_SHAPES as readonly string[]).includes(shape);
/** A thing in words; shapes without a name are just shapes. */
const word = (thing: Thing) => (named(thing.shape) ? thing.shape : 'shape');
const call = (thing: Thing) => `${thing.colour} ${word(thing)}`;
const pick = <T>(items: readonly T[], random: Random): T => items[random.below(items.length)]!;
/** Things that their colour and name tell apart from all others. */
const unique = (scene: Scene) =>
  scene.filter((thing) => scene.filter((other) => call(other) === call(thing)).length === 1);

/** How `a` lies from `b`: row first, then column. */
function relation(a: Thing, b: Thing): string {
  const vertical = a.row < b.row ? 'above' : a.row > b.row ? 'below' : '';
  const horizontal = a.column < b.column ? 'left' : a.column > b.column ? 'right' : '';
  return vertical && horizontal ? `${vertical} and ${horizontal}` : vertical || horizontal;
}

/** Two things, half the time in one row or column if there are such. */
function twoOf(scene: Scene, random: Random): [Thing, Thing] | null {
  const things = unique(scene);
  const pairs = things.flatMap((a) => things.filter((b) => b !== a).map((b): [Thing, Thing] => [a, b]));
  const aligned = pairs.filter(([a, b]) => a.row === b.row || a.column === b.column);
  const pool = aligned.length > 0 && random.below(2) === 0 ? aligned : pairs;
  return pool.length > 0 ? pick(pool, random) : null;
}

export const SKILLS: Readonly<Record<string, Skill>> = {
  describe: (scene) => ['scene', scene.map((thing) => `${thing.size} ${call(thing)} ${placeOf(thing)}`).join(' , ')],
  name: (scene, random) => {
    const thing = pick(scene, random);
    return [`thing ${placeOf(thing)}`, `${thing.size} ${call(thing)}`];
  },
  locate: (scene, random) => {
    const thing = pick(unique(scene), random);
    return thing ? [`place ${call(thing)}`, placeOf(thing)] : null;
  },
  count: (scene, random) => {
    if (random.below(3) === 0) return ['number', NUMBERS[scene.length]!];
    const colour = pick([pick(scene, random).colour, pick(COLOURS, random)], random);
    return [`number ${colour}`, NUMBERS[scene.filter((thing) => thing.colour === colour).length]!];
  },
  paint: (scene, random) => {
    const shapes = scene.filter(
      (thing) => named(thing.shape) && scene.filter((other) => other.shape === thing.shape).length === 1,
    );
    const thing = pick(shapes, random);
    return thing ? [`colour ${thing.shape}`, thing.colour] : null;
  },
  relate: (scene, random) => {
    const pair = twoOf(scene, random);
    return pair ? [`relation ${call(pair[0])} , ${call(pair[1])}`, relation(pair[0], pair[1])] : null;
  },
  neighbour: (scene, random) => {
    const pair = twoOf(scene, random);
    if (!pair) return null;
    const way = relation(pair[0], pair[1]);
    const others = scene.filter((other) => other !== pair[1] && relation(other, pair[1]) === way);
    return others.length === 1 ? [`thing ${way} ; ${call(pair[1])}`, call(pair[0])] : null;
  },
  copy: (_scene, random) => {
    const text = Array.from({ length: 2 + random.below(4) }, () => pick(WORDS, random)).join(' ');
    return [`copy ${text}`, text];
  },
  lookUp: (_scene, random) => {
    const letters = LETTERS.slice(0, 2 + random.below(3));
    const order = random.permutation(WORDS.length);
    // Mostly words that pictures are about.
    const pool = random.below(2)
      ? WORDS
      : [...COLOURS, ...NAMED_SHAPES, ...NUMBERS.slice(1, 6), 'left', 'right', 'top', 'bottom'];
    const words = [...order]
      .map((i) => pool[i % pool.length]!)
      .filter((w, i, all) => all.indexOf(w) === i && w.length > 1)
      .slice(0, letters.length);
    const at = random.below(letters.length);
    const list = letters.map((letter, i) => `${letter}. ${words[i]}`).join(' ');
    return random.below(3)
      ? [`list ${list} ; ${words[at]}`, letters[at]!]
      : [`list ${list} ; ${letters[at]}`, words[at]!];
  },
};

/** How often each skill is asked for. */
export const WEIGHTS: Readonly<Record<string, number>> = {
  describe: 3,
  name: 4,
  locate: 2,
  count: 1,
  paint: 4,
  relate: 5,
  neighbour: 1,
  copy: 1,
  lookUp: 4,
};

/** What is asked about a handwritten digit. */
export const digitTurn = (label: number): Turn => ['digit', NUMBERS[label]!];
