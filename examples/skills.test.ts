import { describe, expect, it } from 'vitest';
import { Random } from '../learning/training/random.ts';
import { readDigits } from './digits.ts';
import { INSTRUCTIONS } from './questions.ts';
import { drawDigit, drawScene, randomScene, type Scene, SIDE, type Thing } from './scenes.ts';
import { digitTurn, SKILLS, type Turn, WEIGHTS } from './skills.ts';
import { COLOURS, SHAPES, UNNAMED_SHAPES, WORDS } from './words.ts';

const random = new Random(7);
/** Many scenes with what a skill makes of each. */
const turnsOf = (name: string, count = 400): { scene: Scene; turn: Turn }[] =>
  Array.from({ length: count }, () => randomScene(random, 1 + random.below(4))).flatMap((scene) => {
    const turn = SKILLS[name]!(scene, random);
    return turn ? [{ scene, turn }] : [];
  });
const textual = ['copy', 'lookUp'];
const about = Object.keys(SKILLS).filter((name) => !textual.includes(name));
const find = (scene: Scene, words: string) =>
  scene.filter(
    ({ colour, shape }) =>
      words === `${colour} ${(UNNAMED_SHAPES as readonly string[]).includes(shape) ? 'shape' : shape}`,
  );

describe('what pre-training teaches', () => {
  it('has a weight for every skill', () => {
    expect(Object.keys(WEIGHTS).sort()).toEqual(Object.keys(SKILLS).sort());
  });

  it.each(about)('%s never names the four kinds that only the classification task names', (name) => {
    const pairs = turnsOf(name);
    expect(pairs.length).toBeGreaterThan(50);
    expect(pairs.some(({ scene }) => scene.some(({ shape }) => UNNAMED_SHAPES.includes(shape as never)))).toBe(true);
    const said = pairs.flatMap(({ turn }) => turn.join(' ').split(/\W+/));
    for (const unnamed of UNNAMED_SHAPES) expect(said).not.toContain(unnamed);
  });

  it('never speaks in the formats of the tasks, and only in words of the language', () => {
    const known = new Set(WORDS);
    for (const name of Object.keys(SKILLS))
      for (const { turn } of turnsOf(name, 200)) {
        const text = turn.join(' ');
        expect(text).not.toMatch(/\?/);
        for (const instruction of Object.values(INSTRUCTIONS).flat()) expect(text).not.toContain(instruction);
        for (const word of text.match(/[A-Za-z]+|[0-9]/g)!) expect(known, word).toContain(word);
      }
  });

  it('counts what is there', () => {
    const numbers = ['zero', 'one', 'two', 'three', 'four'];
    for (const { scene, turn } of turnsOf('count')) {
      const colour = COLOURS.find((name) => turn[0].split(' ').includes(name));
      const counted = colour ? scene.filter((thing) => thing.colour === colour) : scene;
      expect(turn[1]).toBe(numbers[counted.length]);
    }
  });

  it('tells relations as the things lie', () => {
    const seen = new Set<string>();
    for (const { scene, turn } of turnsOf('relate')) {
      const [, first, second] = /^(?:relation|relation of|side of) (\w+ \w+)(?: ,| to| with) (\w+ \w+)$/.exec(turn[0])!;
      const pair = turn[0].startsWith('side') ? [second!, first!] : [first!, second!];
      const [a, b] = pair.map((words) => find(scene, words));
      expect([a!.length, b!.length]).toEqual([1, 1]);
      const said = turn[1].split(' and ');
      const [dx, dy] = [b![0]!.column - a![0]!.column, b![0]!.row - a![0]!.row];
      expect([said.includes('left'), said.includes('right')]).toEqual([dx > 0, dx < 0]);
      expect([said.includes('above'), said.includes('below')]).toEqual([dy > 0, dy < 0]);
      seen.add(turn[1]);
    }
    expect(seen.size).toBe(8);
  });

  it('looks up the letter of a word, or the word of a letter', () => {
    for (const { turn } of turnsOf('lookUp')) {
      const [one, other] = turn[0].replace(/^(list|letter of) /, '').split(' ; ');
      const asked = /[A-F]\. /.test(one!) ? other : one;
      const entries = [...turn[0].matchAll(/([A-F])\. (\S+)/g)].map(([, letter, word]) => [letter!, word!]);
      const entry = entries.find((pair) => pair.includes(asked!))!;
      expect(entry).toContain(turn[1]);
      expect(turn[1]).not.toBe(asked);
    }
  });

  it('shares no row of handwriting with the digit task', () => {
    const { pretraining, task } = readDigits();
    expect([pretraining.length, task.length]).toEqual([400, 1397]);
    const shown = new Set(pretraining.map(({ ink }) => ink.join()));
    expect(task.filter(({ ink }) => shown.has(ink.join()))).toEqual([]);
    for (const { ink, label } of [...pretraining, ...task]) {
      expect(ink).toHaveLength(64);
      expect(label).toBe(
        ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'].indexOf(digitTurn(label)[1]),
      );
    }
  });
});

describe('scenes', () => {
  it('hold different things in different cells', () => {
    for (let i = 0; i < 500; i++) {
      const scene = randomScene(random, 4);
      expect(new Set(scene.map(({ row, column }) => row * 3 + column)).size).toBe(4);
      expect(new Set(scene.map(({ colour, shape }) => `${colour} ${shape}`)).size).toBe(4);
    }
  });

  it('are drawn alike from one seed, and unlike from another', () => {
    const scene = randomScene(new Random(3), 3);
    expect(drawScene(scene, new Random(5))).toEqual(drawScene(scene, new Random(5)));
    expect(drawScene(scene, new Random(5))).not.toEqual(drawScene(scene, new Random(6)));
  });

  it('show a thing where it is and nowhere else', () => {
    for (const row of [0, 1, 2])
      for (const column of [0, 1, 2]) {
        const mass = lit({ shape: 'square', colour: 'white', size: 'large', row, column });
        // In the middle of a patch of eight pixels; the middle cell is one of the two inner patches.
        const off = (at: number, cell: number) =>
          Math.min(...[[4], [12, 20], [28]][cell]!.map((centre) => Math.abs(at - centre)));
        expect(off(mass.x, column)).toBeLessThan(1);
        expect(off(mass.y, row)).toBeLessThan(1);
      }
  });

  it('draw large things larger than small ones, and every kind differently', () => {
    for (const shape of SHAPES) {
      const [small, large] = (['small', 'large'] as const).map(
        (size) => lit({ shape, colour: 'white', size, row: 1, column: 1 }).count,
      );
      expect(large! / small!, shape).toBeGreaterThan(1.2);
    }
    const pictures = SHAPES.map((shape) =>
      drawScene([{ shape, colour: 'white', size: 'large', row: 1, column: 1 }], new Random(11)),
    );
    pictures.forEach((a, i) => {
      for (const b of pictures.slice(i + 1))
        expect(a.filter((value, at) => Math.abs(value - b[at]!) > 60).length).toBeGreaterThan(30);
    });
  });

  it('enlarge a digit without moving its ink', () => {
    const ink = Array.from({ length: 64 }, (_, at) => (at === 3 * 8 + 5 ? 16 : 0));
    const { x, y } = centre(drawDigit(ink), 30);
    expect([x, y].map(Math.round)).toEqual([5 * 4 + 2, 3 * 4 + 2]);
  });
});

/** Number and centre of the bright pixels of one drawn thing. */
const lit = (thing: Thing) => centre(drawScene([thing], new Random(2)), 120);

function centre(pixels: Uint8Array, above: number) {
  let [count, x, y] = [0, 0, 0];
  for (let at = 0; at < SIDE * SIDE; at++)
    if (pixels[at * 3]! > above) {
      count++;
      x += (at % SIDE) + 0.5;
      y += Math.floor(at / SIDE) + 0.5;
    }
  return { count, x: x / count, y: y / count };
}
