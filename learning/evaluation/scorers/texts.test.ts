import { readFileSync } from 'node:fs';
import { describe, expect, it, test } from 'vitest';
import { anls } from './anls.ts';
import { corpusBleu, sentenceBleu } from './bleu.ts';
import { meteorStem } from './meteor.ts';
import { porterStem } from './porter.ts';
import { rougeL } from './rouge.ts';
import { mtevalWords, treebankWords } from './words.ts';

interface Pair {
  readonly text: string;
  readonly references: readonly string[];
  readonly rouge: number;
  readonly rougeStem: number;
  readonly bleu: number;
  readonly meteor: number;
  readonly anls: number;
}
interface Expected {
  readonly pairs: readonly Pair[];
  readonly corpora: ReadonlyArray<{ readonly from: number; readonly to: number; readonly bleu: number }>;
  readonly stems: ReadonlyArray<readonly [word: string, stem: string]>;
  readonly words: ReadonlyArray<readonly [text: string, treebank: readonly string[], mteval: readonly string[]]>;
}

/** What rouge-score, sacrebleu, NLTK and anls make of them: test/fixtures/make-text-scores.py. */
const expected: Expected = JSON.parse(
  readFileSync(new URL('../../../test/fixtures/scorers/texts.json', import.meta.url), 'utf8'),
);

/** Pairs whose number is another, with both. */
const wrong = (ours: (pair: Pair) => number, theirs: (pair: Pair) => number) =>
  expected.pairs
    .map((pair) => ({ text: pair.text, references: pair.references, ours: ours(pair), theirs: theirs(pair) }))
    .filter((each) => !(Math.abs(each.ours - each.theirs) < 1e-9));

describe('the same numbers as the published packages, on texts of every kind', () => {
  test.each([
    ['ROUGE-L', ({ text, references }: Pair) => rougeL(text, references), ({ rouge }: Pair) => rouge],
    [
      'ROUGE-L of stems',
      ({ text, references }: Pair) => rougeL(text, references, true),
      (pair: Pair) => pair.rougeStem,
    ],
    ['BLEU of a sentence', sentenceBleu, ({ bleu }: Pair) => bleu],
    [
      'METEOR without synonyms',
      ({ text, references }: Pair) => meteorStem(text, references),
      (pair: Pair) => pair.meteor,
    ],
    ['ANLS', ({ text, references }: Pair) => anls(text, references), (pair: Pair) => pair.anls],
  ])('%s', (_, ours, theirs) => {
    expect(wrong(ours, theirs)).toEqual([]);
    // The texts tell scorers apart: many numbers, not all of them 0 or the whole.
    expect(new Set(expected.pairs.map(theirs)).size).toBeGreaterThan(50);
  });

  test.each(expected.corpora)('BLEU of pairs $from to $to together is $bleu', ({ from, to, bleu }) => {
    expect(corpusBleu(expected.pairs.slice(from, to))).toBeCloseTo(bleu, 9);
  });

  it('words of the Penn Treebank, as NLTK cuts them', () => {
    for (const [text, treebank] of expected.words) expect(treebankWords(text), text).toEqual(treebank);
  });

  it('words of mteval-v13a, as sacrebleu cuts them', () => {
    for (const [text, , mteval] of expected.words) expect(mtevalWords(text), text).toEqual(mteval);
  });

  it('stems of odd words', () => {
    expect(expected.stems.map(([word]) => [word, porterStem(word)])).toEqual(expected.stems);
  });
});

describe('worked by hand', () => {
  it('ROUGE-L: four of five and of six words in order', () => {
    const [precision, recall] = [4 / 5, 4 / 6];
    const f = (2 * precision * recall) / (precision + recall);
    expect(rougeL('the cat sat on mats', ['a cat sat on the mat', 'the cat sat on a mat'])).toBeCloseTo(f, 12);
    expect(rougeL('猫', ['猫'])).toBe(0);
  });

  it('METEOR: two chunks of four matches', () => {
    // "sits" and "sit" have one stem. Precision 4/4, recall 4/5; two chunks: 1 − 0.5 (2/4)³.
    const mean = (1 * 0.8) / (0.9 * 1 + 0.1 * 0.8);
    expect(meteorStem('a dog sits here', ['here a dog sit now'])).toBeCloseTo(mean * (1 - 0.5 / 8), 12);
  });

  it('ANLS: nearest reference, nothing from half on', () => {
    expect(anls('Itc Limitd', ['ITC  limited', 'x'])).toBeCloseTo(10 / 11, 12);
    expect([anls('abcd', ['abxy']), anls('', ['']), anls('', ['a'])]).toEqual([0, 1, 0]);
  });

  it('BLEU of a split is no mean of sentences', () => {
    const answers = [
      { text: 'a red dog sits on the grass', references: ['a red dog sits on the grass'] },
      { text: 'yes', references: ['a blue cat sits on the roof'] },
    ];
    // All 7 − n + 1 n-grams of the first, none of the second's one word; 8 words for 14.
    expect(corpusBleu(answers)).toBeCloseTo(100 * Math.exp(1 - 14 / 8) * (7 / 8) ** (1 / 4), 9);
    expect(answers.map(sentenceBleu)[1]).toBe(0);
  });
});
