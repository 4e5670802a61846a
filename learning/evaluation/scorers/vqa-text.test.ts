import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { scorerNamed } from '../scorers.ts';
import { vqaText } from './vqa-text.ts';

/** What M4C's evaluation makes of them: see test/fixtures/README.md. */
const expected: {
  forms: Array<{ text: string; form: string }>;
  soft: Array<{ answer: string; references: string[]; score: number }>;
} = JSON.parse(readFileSync(new URL('../../../test/fixtures/scorers/vqa-answers.json', import.meta.url), 'utf8'));

test('the same form as the reference, for every contraction, mark and number', () => {
  expect(expected.forms.map(({ text }) => ({ text, form: vqaText(text) }))).toEqual(expected.forms);
});

test.each(expected.soft)(
  'soft accuracy of "$answer" among ten annotators is $score',
  ({ answer, references, score }) => {
    expect(scorerNamed('vqa').score([{ text: answer, references }])[0]).toBeCloseTo(100 * score, 10);
  },
);

test.each([
  ['No articles: the dog', 'no articles: dog'],
  ['Two red-hot chilli peppers!', '2 red hot chilli peppers'],
  ['1,000.50', '1000.50'],
  ['dont', "don't"],
  ['', ''],
])('by hand: %s', (text, form) => expect(vqaText(text)).toBe(form));
