import { readFileSync } from 'node:fs';
import { describe, expect, it, test } from 'vitest';
import { captionWords, cider, releasedCider } from './cider.ts';

interface Expected {
  captions: Array<{ text: string; references: string[]; cider: number; paper: number }>;
  /** The first caption as the whole test split. */
  alone: number;
  words: Array<{ text: string; words: string }>;
}

/** What pycocoevalcap 1.2 makes of them: see test/fixtures/README.md. */
const expected: Expected = JSON.parse(
  readFileSync(new URL('../../../test/fixtures/scorers/captions.json', import.meta.url), 'utf8'),
);
const mean = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

describe('the same numbers as pycocoevalcap', () => {
  const scores = cider(expected.captions).map(mean);
  const released = releasedCider(expected.captions);

  test.each(expected.captions.map((caption, i) => ({ ...caption, i })))('CIDEr-D of "$text"', (caption) => {
    expect(scores[caption.i]).toBeCloseTo(caption.cider, 10);
  });

  test.each(expected.captions.map((caption, i) => ({ ...caption, i })))('as released: "$text"', (caption) => {
    expect(released[caption.i]).toBeCloseTo(caption.paper, 10);
  });

  it('one caption alone has nothing rare in it', () => {
    expect(mean(cider(expected.captions.slice(0, 1))[0]!)).toBe(expected.alone);
  });
});

describe('the same words as the PTB tokenizer', () => {
  const ours = new Map([
    ['He said "hello" (twice) -- then left...', 'he said hello twice then left'],
    ['The U.S. flag', 'the u s flag'],
    ["rock'n'roll and the boys' toys", "rock'n'roll and the boys toys"],
    ['gonna go', 'gonna go'],
  ]);
  test.each(expected.words.filter(({ text }) => !ours.has(text)))('$text', ({ text, words }) => {
    expect(captionWords(text).join(' ')).toBe(words);
  });
  test.each([...ours])('but here %s', (text, words) => expect(captionWords(text).join(' ')).toBe(words));

  it('a curly apostrophe is an apostrophe', () => {
    expect(captionWords('the dog’s ball isn’t red')).toEqual(captionWords("the dog's ball isn't red"));
  });
});

it('two words of two captions, worked by hand', () => {
  // All orders that exist agree: cosine 1 for one and two words, 0 for three and four. 10 · (1 + 1) / 4.
  const captions = [
    { text: 'red dog', references: ['red dog', 'blue cat'] },
    { text: 'green bird', references: ['green fish'] },
  ];
  const [first, second] = cider(captions) as [number[], number[]];
  expect(first[0]).toBeCloseTo(5, 12);
  expect(first[1]).toBe(0);
  // Of two equally rare words one agrees: cosine ½ for one word, 10 · ½ / 4. "bird" is in no reference: as rare as can be.
  expect(second[0]).toBeCloseTo(1.25, 12);
});
