import { readFileSync } from 'node:fs';
import { describe, expect, it, test } from 'vitest';
import { scorerNamed, scorerNames } from './scorers.ts';

const one = (scorer: string, text: string, ...references: string[]) =>
  scorerNamed(scorer).score([{ text, references }])[0];

describe('scores of single answers, worked by hand', () => {
  test.each([
    ['option-letter', 'B', ['B'], 100],
    ['option-letter', 'B. the dog', ['B'], 100],
    ['option-letter', 'C', ['B'], 0],
    ['option-letter', '', ['B'], 0],
    ['option-letter', 'no idea', ['none'], 0],
    ['option-letter-paper', 'A dog, so B', ['B'], 0],
    ['option-letter-paper', 'b', ['B'], 100],
    ['option-letter-paper', 'no idea', ['B'], 0],
    ['exact', ' Red ', ['red'], 100],
    ['exact', 'red.', ['red'], 0],
    ['exact', 'crimson', ['red', 'crimson'], 100],
    ['exact', '', ['red'], 0],
    ['exact-paper', 'crimson', ['red', 'crimson'], 0],
    ['exact-paper', 'RED', ['red', 'crimson'], 100],
    ['containment', 'golden retriever', ['retriever'], 100],
    ['containment', 'Retriever', ['golden retriever'], 100],
    ['containment', 'cat', ['dog', 'house cat'], 100],
    ['containment', 'cat', ['dog'], 0],
    ['containment', '', ['dog'], 0],
    ['containment', '  ', ['dog'], 0],
    ['containment', 'cat', [''], 0],
    ['gqa', 'Left.', ['left'], 100],
    ['box', '[0.2, 0.1, 0.6, 0.5]', ['[0.20,0.10,0.60,0.50]'], 100],
    ['box', 'It is at [0, 0, 1, 1].', ['[0.0,0.0,1.0,1.0]'], 100],
    // Half of one box is not more than half of the union; a little more is.
    ['box', '[0,0,1,0.5]', ['[0,0,1,1]'], 0],
    ['box', '[0,0,1,0.51]', ['[0,0,1,1]'], 100],
    ['box', '[0,0,1,0.4]', ['[5,5,6,6]', '[0,0,1,0.5]'], 100],
    ['box', '[1,1,0,0]', ['[0,0,1,1]'], 0],
    ['box', 'the dog', ['[0,0,1,1]'], 0],
    // Fewer than four references: any of them.
    ['vqa', 'The Red', ['red'], 100],
    ['vqa', '2', ['two', 'three', 'four'], 100],
    ['vqa', 'blue', ['red', 'green'], 0],
    // Four annotators, two agree: leaving each out in turn, (⅓ + ⅓ + ⅔ + ⅔) / 4.
    ['vqa', 'red', ['red', 'red', 'blue', 'blue'], 50],
    // Longest common subsequence of 2 words: precision 2/2, recall 2/4.
    ['rouge-l', 'Red dog!', ['a red big dog', 'a cat'], (100 * 2) / 3],
    ['rouge-l', 'dogs', ['dog'], 0],
    ['rouge-l-stem', 'dogs', ['dog'], 100],
    ['bleu', 'the red dog sits', ['the red dog sits'], 100],
    // One match in one chunk costs half.
    ['meteor-stem', 'dogs', ['dog'], 50],
    ['anls', '12 March 1998', ['12 march 1996'], (100 * 12) / 13],
  ] as const)('%s: "%s" for %j is %d', (scorer, text, references, score) => {
    expect(one(scorer, text, ...references)).toBeCloseTo(score, 10);
  });

  it('relative caption scores stand between nothing and the first reference itself', () => {
    const references = [
      ['a red dog sits on the grass.', 'there is a red dog.'],
      ['two blue birds fly over a house.', 'birds fly.'],
      ['a man drinks coffee.', 'the man has coffee.'],
    ];
    const relative = (texts: string[]) =>
      scorerNamed('cider-relative').score(texts.map((text, i) => ({ text, references: references[i]! })));
    const [same, part, nothing] = relative([references[0]![0]!, 'two blue birds', '']);
    expect(same).toBeCloseTo(100, 10);
    expect(part).toBeGreaterThan(1);
    expect(part).toBeLessThan(90);
    expect(nothing).toBe(0);
  });
});

describe('the same as the released scripts of the benchmarks (test/fixtures/make-scores.py)', () => {
  const expected: {
    answers: { metric: string; text: string; reference: string; score: number }[];
    captions: number[];
  } = JSON.parse(readFileSync(new URL('../../test/fixtures/scorers/benchmarks.json', import.meta.url), 'utf8'));

  test.each(expected.answers)('$metric: "$text" for $reference is $score', ({ metric, text, reference, score }) => {
    expect(one(metric, text, reference)).toBe(score);
  });

  it('captions whose words are taken as they are written', () => {
    const file = new URL('../../test/fixtures/scorers/captions.json', import.meta.url);
    const { captions } = JSON.parse(readFileSync(file, 'utf8'));
    const scores = scorerNamed('cider-textcaps').score(captions);
    for (const [i, score] of scores.entries()) expect(score).toBeCloseTo(100 * expected.captions[i]!, 8);
  });
});

describe('the required form, by the rules of the released scripts', () => {
  test.each([
    ['option-letter', 'B', true],
    ['option-letter', 'b', true],
    ['option-letter', 'B.', false],
    ['box', '[0.1, 0.2, 0.3, 0.4]', true],
    ['box', 'at [0.1, 0.2, 0.3, 0.4]', false],
    ['option-letter', 'BC', false],
    ['option-letter', '', false],
    ['exact', 'red', true],
    ['exact', 'dark red', true],
    ['exact', 'a very dark red', false],
    ['exact', 'The reference is long', true],
    ['exact', '', false],
    ['cider', 'A dog sits on the grass.', true],
    ['cider', 'A dog sits on the grass', false],
    ['cider', 'A dog sits.', false],
    ['cider', 'Is Long.', true],
    ['cider', 'is long', false],
    ['cider', '', false],
  ])('%s: "%s" is %s', (scorer, text, follows) => {
    expect(scorerNamed(scorer).follows({ text, references: ['the reference is long', 'it is long.'] })).toBe(follows);
  });
});

it('scorers have distinct names, and an unknown one is refused with the choice', () => {
  expect(new Set(scorerNames()).size).toBe(scorerNames().length);
  expect(() => scorerNamed('spice')).toThrow(/There is no metric "spice". Choose from option-letter, .*cider-paper/);
});
