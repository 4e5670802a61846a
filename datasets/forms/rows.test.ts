import { describe, expect, it } from 'vitest';
import { readJson, readValue, refusalOf } from '../../test/forms/read.ts';
import { NoClass } from './values.ts';

/** What is asked, learned and accepted. */
function row(sample: object | string, about = {}) {
  const { turns, references } = readJson(sample, about);
  return [turns.at(-2)!.text, turns.at(-1)!.text, ...references];
}

describe('questions', () => {
  it.each([
    [
      'an instruction with its input',
      { instruction: 'Sum up.', input: 'Cats sleep.', output: 'x' },
      'Sum up.\nCats sleep.',
    ],
    ['an instruction without', { instruction: 'Greet.', input: '', output: 'x' }, 'Greet.'],
    ['an instruction beside its whole prompt', { instruction: 'Greet.', output: 'x', text: 'Greet.' }, 'Greet.'],
    ['an input alone', { input: 'Cats?', output: 'x' }, 'Cats?'],
    ['a text before the question', { context: 'Cats sleep.', question: 'Who?', answer: 'x' }, 'Cats sleep.\nWho?'],
    ['earlier rounds', { query: 'And now?', response: 'x', history: [['Who?', 'I']] }, 'And now?'],
  ])('%s', (_, sample, asked) => {
    expect(row(sample)[0]).toBe(asked);
  });

  it('earlier rounds and the system are turns', () => {
    const sample = { system: 'Be brief.', query: 'And now?', response: 'x', history: [['Who?', 'I']] };
    expect(readJson(sample).turns.map(({ role, text }) => `${role}: ${text}`)).toEqual([
      'system: Be brief.',
      'user: Who?',
      'assistant: I',
      'user: And now?',
      'assistant: x',
    ]);
  });

  it('the question of dataset.json asks about an input that columns name', () => {
    const sample = { sentence: 'a charming film', label: 'positive' };
    const question = 'Is it positive?';
    expect(refusalOf(sample, { question })).toMatch(
      /"sentence" is a key that no form reads; say "ignore": \["sentence"\].*or "columns": \{"input": "sentence"\}/,
    );
    expect(row(sample, { question, columns: { input: 'sentence' } })[0]).toBe('Is it positive?\na charming film');
  });

  it.each([
    [
      { title: 'a', body: 'b' },
      /no form of samples fits the keys "title", "body": a row has no question .* and no answer; messages needs/,
    ],
    [
      { question: 'a', body: 'b' },
      /a row has no answer \(answer, label, caption, response, output, completion\); name its column/,
    ],
    [{ answer: 'a' }, /a row has no question/],
    [{}, /no key that holds anything/],
    [{ question: ' ', answer: 'a' }, /the question is empty/],
    [{ question: 'a', answer: '' }, /the answer is empty/],
    [
      { question: 'a', answers: [] },
      /a row has no answer: nothing stands under "answers"; write it, or take the sample out/,
    ],
    [{ question: 'a', answer: null }, /nothing stands under "answer"/],
    [
      { version: 1, data: [{ question: 'a', answer: 'b' }] },
      /if the samples are those under "data", write that list alone/,
    ],
    [
      { 1: { question: 'a' }, 2: { question: 'b' } },
      /if "1" and the others are samples, write them as a list or as lines/,
    ],
    [{ question: 'a', query: 'b', answer: 'c' }, /"query" is a key that no form reads/],
    [{ instruction: 'a', output: 'c', text: '### a: c' }, /"text" is a key that no form reads/],
    [{ question: 'a', answer: 'c', text: 'b' }, /"text" is a key that no form reads/],
  ])('%j is refused by name', (sample, message) => {
    expect(refusalOf(sample)).toMatch(message);
  });
});

describe('answers', () => {
  it.each([
    ['12345678901234567890'],
    ['9007199254740993'],
    ['1.50'],
    ['100.0'],
    ['-0'],
    ['1e3'],
    ['true'],
    ['0'],
    ['0.1'],
  ])('the number %s is the text that was written', (number) => {
    expect(row(`{"question": "How much?", "answer": ${number}}`)).toEqual(['How much?', number, number]);
    expect(row(`{"question": "How much?", "answers": [${number}, 3]}`)).toEqual(['How much?', number, number, '3']);
  });

  it.each([
    [Number.NaN, /the answer must be a text, not null/],
    [Number.POSITIVE_INFINITY, /must be a text/],
    [new Date(0), /the answer must be a text, not "1970/],
    [new Uint8Array(2), /must be a text/],
    [new NoClass(-1), /the class -1, which has no name: this split has no labels; take another split/],
  ])('%s is no answer', (answer, message) => {
    expect(() => readValue({ question: 'a', answer })).toThrow(message);
  });

  it('whole numbers of any size are read from tables', () => {
    expect(readValue({ question: 'a', answer: 9007199254740993n, id: 5n })).toMatchObject({
      id: '5',
      references: ['9007199254740993'],
    });
  });

  it('the label -1 means that there is none, unless columns name it', () => {
    const sample = { text: 'x', label: -1 };
    const about = { question: 'Which?', columns: { input: 'text' } };
    expect(refusalOf(sample, about)).toMatch(/the class -1/);
    expect(row(sample, { ...about, columns: { input: 'text', answer: 'label' } })[1]).toBe('-1');
  });

  it('several are accepted, of which the most frequent or the first is learned', () => {
    const question = 'Describe it.';
    expect(row({ caption: ['a dog', 'a brown dog'] }, { question }).slice(1)).toEqual([
      'a dog',
      'a dog',
      'a brown dog',
    ]);
    expect(row({ answer: ['x', 'y', 'y'] }, { question }).slice(1)).toEqual(['y', 'x', 'y', 'y']);
    expect(row({ captions: '["a", "b"]' }, { question }).slice(1)).toEqual(['a', 'a', 'b']);
    const people = { question, answers: [{ answer: 'x', answer_confidence: 'yes', answer_id: 1 }, { answer: 'z' }] };
    expect(row(people).slice(1)).toEqual(['x', 'x', 'z']);
    expect(row({ captions: [{ caption: 'x' }, { caption: 'y' }] }, { question }).slice(1)).toEqual(['x', 'x', 'y']);
    expect(refusalOf({ label: ['cat', 'dog'] }, { question })).toMatch(
      /"label" holds 2 labels, which are not one answer/,
    );
    expect(row({ label: ['cat', 'dog'] }, { question, columns: { references: 'label' } })[1]).toBe('cat');
  });

  it('as SQuAD writes them', () => {
    const squad = (...text: string[]) => ({
      id: '1',
      title: 'Cats',
      context: 'Cats sleep for most of the day.',
      question: 'When do they sleep?',
      answers: { text, answer_start: text.map(() => 11) },
    });
    expect(row(squad('most of the day', 'the day'))).toEqual([
      'Cats sleep for most of the day.\nWhen do they sleep?',
      'most of the day',
      'most of the day',
      'the day',
    ]);
    expect(refusalOf(squad())).toMatch(/no answer/);
  });
});

describe('choices', () => {
  const asks = 'Which?\nA. cat\nB. dog';
  it.each([
    ['an index', { choices: ['cat', 'dog'], answer: 1 }, 'B'],
    ['a letter', { options: ['cat', 'dog'], answer: 'B' }, 'B'],
    ['a text', { choices: ['cat', 'dog'], answer: 'dog' }, 'dog'],
    ['choices as Python prints them', { options: "['cat', 'dog']", answer: 'A' }, 'A'],
    ['choices as JSON text', { options: '["cat", "dog"]', answer: 0 }, 'A'],
    ['texts and labels', { choices: { text: ['cat', 'dog'], label: ['A', 'B'] }, answerKey: 'B' }, 'B'],
    ['choices by letter', { options: { A: 'cat', B: 'dog' }, answer: 'A' }, 'A'],
  ])('%s', (_, sample, answer) => {
    expect(row({ question: 'Which?', ...sample })).toEqual([asks, answer, answer]);
  });
  it('that the question lists itself are not listed twice', () => {
    expect(row({ question: asks, choices: ['cat', 'dog'], answer: 1 })).toEqual([asks, 'B', 'B']);
  });
  it('none are none', () => {
    expect(row({ question: 'How many?', choices: [], answer: 1 })).toEqual(['How many?', '1', '1']);
  });
  it.each([
    [{ choices: ['cat', 'dog'], answer: 2 }, /the answer 2 is no index of the 2 choices/],
    [{ choices: ['cat', 'dog'], answer: -1 }, /this split has no labels/],
    [{ choices: ['1', '2'], answer: 1 }, /may be an index or the text of a choice/],
    [{ choices: ['cat', 'dog'], answer: '1' }, /neither a letter nor the text of a choice/],
    [{ choices: 'cat, dog', answer: 1 }, /"choices" must be a list of choices/],
    [{ choices: ['cat', 'dog'], answer: 1, hint: 'It barks.' }, /"hint" is a key that no form reads/],
  ])('%j is refused', (sample, message) => {
    expect(refusalOf({ question: 'Which?', ...sample })).toMatch(message);
  });
});

it.each([
  ['JSON', '["a.png", "b.png"]'],
  ['Python', `['a.png', "b.png"]`],
])('pictures may be a list that %s printed, as in CSV', (_, image) => {
  expect(readJson({ image, question: 'Which?', answer: 'x' }).images).toEqual(['a.png', 'b.png']);
});

it('base64 of a picture that is cut off is no path', () => {
  const image = `iVBORw0KGgo${'A'.repeat(80)}!!`;
  expect(refusalOf({ image, question: 'Which?', answer: 'x' })).toMatch(
    /begins as base64 of a picture and is none to its end/,
  );
});
