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
  describe: (scene, random) => [
    pick(['scene', 'describe the scene', 'list the things', 'tell what appears'], random),
    scene.map((thing) => `${thing.size} ${call(thing)} ${placeOf(thing)}`).join(' , '),
  ],
  name: (scene, random) => {
    const thing = pick(scene, random);
    const place = placeOf(thing);
    return [
      pick([`thing ${place}`, `thing at the ${place}`, `say the thing at ${place}`], random),
      `${thing.size} ${call(thing)}`,
    ];
  },
  shape: (scene, random) => {
    const thing = pick(
      scene.filter(({ shape }) => named(shape)),
      random,
    );
    if (!thing) return null;
    const place = placeOf(thing);
    const forms = [`shape ${place}`, `kind of thing at the ${place}`, `identify the ${place} thing`];
    return [
      pick(scene.length === 1 ? [...forms, 'shape', 'kind of thing', 'identify the thing'] : forms, random),
      thing.shape,
    ];
  },
  size: (scene, random) => {
    const thing = pick(unique(scene), random);
    return thing ? [pick([`size ${call(thing)}`, `size of ${call(thing)}`], random), thing.size] : null;
  },
  visible: (scene, random) => {
    const colour = pick([pick(scene, random).colour, pick(COLOURS, random)], random);
    return [
      pick([`visible ${colour}`, `see ${colour} things`], random),
      scene.some((thing) => thing.colour === colour) ? 'yes' : 'no',
    ];
  },
  locate: (scene, random) => {
    const thing = pick(unique(scene), random);
    return thing
      ? [pick([`place ${call(thing)}`, `place of the ${call(thing)}`, `find ${call(thing)}`], random), placeOf(thing)]
      : null;
  },
  count: (scene, random) => {
    if (random.below(2) === 0)
      return [pick(['number', 'number of things', 'count the things'], random), NUMBERS[scene.length]!];
    const colour = pick([pick(scene, random).colour, pick(COLOURS, random)], random);
    const count = NUMBERS[scene.filter((thing) => thing.colour === colour).length]!;
    return [pick([`number ${colour}`, `count ${colour} things`], random), count];
  },
  paint: (scene, random) => {
    const shapes = scene.filter(
      (thing) => named(thing.shape) && scene.filter((other) => other.shape === thing.shape).length === 1,
    );
    const thing = pick(shapes, random);
    if (!thing) return null;
    return [
      pick([`colour ${thing.shape}`, `colour of ${thing.shape}`, `tell the colour of this ${thing.shape}`], random),
      thing.colour,
    ];
  },
  relate: (scene, random) => {
    const pair = twoOf(scene, random);
    if (!pair) return null;
    const [a, b] = pair.map(call);
    return [
      pick([`relation ${a} , ${b}`, `relation of ${a} to ${b}`, `side of ${b} with ${a}`], random),
      relation(...pair),
    ];
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
    return [pick([`copy ${text}`, `write this ; ${text}`], random), text];
  },
  lookUp: (_scene, random) => {
    const letters = LETTERS.slice(0, 2 + random.below(3));
    const order = random.permutation(WORDS.length);
    // Mostly words that pictures are about.
    const about = [...COLOURS, ...NAMED_SHAPES, ...NUMBERS.slice(1, 6), 'left', 'right', 'top', 'bottom'];
    const pool = random.below(3) === 0 ? WORDS : about;
    const words = [...order]
      .map((i) => pool[i % pool.length]!)
      .filter((w, i, all) => all.indexOf(w) === i && w.length > 1)
      .slice(0, letters.length);
    const at = random.below(letters.length);
    const [list, word, letter] = [letters.map((l, i) => `${l}. ${words[i]}`).join(' '), words[at]!, letters[at]!];
    if (random.below(3) === 0) return [`list ${list} ; ${letter}`, word];
    return [pick([`list ${list} ; ${word}`, `${word} ; ${list}`, `letter of ${word} ; ${list}`], random), letter];
  },
};

/** How often each skill is asked for. */
export const WEIGHTS: Readonly<Record<string, number>> = {
  describe: 2,
  name: 2,
  shape: 5,
  size: 1,
  visible: 1,
  locate: 2,
  count: 2,
  paint: 5,
  relate: 6,
  neighbour: 1,
  copy: 1,
  lookUp: 5,
};

/** What is asked about a handwritten digit. */
export const digitTurn = (label: number): Turn => ['digit', NUMBERS[label]!];
