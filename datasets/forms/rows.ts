import type { Turn } from '../../core/sample.ts';
import { quote } from '../problems.ts';
import { type Accepted, acceptedIn, mostCommon } from './accepted.ts';
import { choicesOf } from './choices.ts';
import { before, finish } from './conversation.ts';
import type { Fields } from './fields.ts';
import type { Form } from './form.ts';
import { Marks } from './marks.ts';
import { thoughtOf } from './message.ts';
import { picturesOf } from './pictures.ts';
import { holds, isObject, NoClass, readText, refuse } from './values.ts';

/** Names of columns in the order in which they are looked for. */
const COLUMNS = {
  question: ['question', 'prompt', 'query', 'instruction'],
  answer: [
    'answer',
    'label',
    'caption',
    'response',
    'output',
    'completion',
    // Beside another answer it is something else: in Alpaca's rows the whole prompt.
    'text',
    'multiple_choice_answer',
    'answerKey',
    'correct_choice_idx',
  ],
  references: ['references', 'answers', 'captions'],
} as const;

type Column = keyof typeof COLUMNS;

/**
 * A row of a table: image, question, answer. Columns have these names or those that `columns` of the manifest gives; the question
 * is `question` of the manifest where a row has none (labels, captions). A text that the question is about stands in `context` (before
 * it) or `input` (behind it, as in Alpaca's rows). Several accepted answers stand in `answers`, or in a list under `answer`;
 * the one that most of them give is learned. Earlier rounds stand in `history`, choices of multiple choice in `choices`.
 */
export const rows: Form = {
  name: 'rows',
  needs: 'a question and an answer',
  fits: (row) => lackOf(row) === null,
  read(row, at) {
    const marks = new Marks(picturesOf(row, at), row.manifest);
    const earlier = before(row, marks);
    const choices = choicesOf(row);
    const asked = choices ? choices.ask(questionOf(row)) : questionOf(row);
    const { learned, accepted } = answersOf(row);
    const answer = choices ? choices.resolve(learned) : readText(learned, 'the answer', true);
    const turns: Turn[] = [
      ...earlier,
      { role: 'user', text: marks.asked(asked, 'the question') },
      { role: 'assistant', ...thoughtOf(row, marks.plain(answer, 'the answer'), 'the answer') },
    ];
    return finish(row, turns, marks, at, {
      words: { user: 'question', assistant: 'answer' },
      ...(accepted.length > 0 && { accepted }),
    });
  },
};

/** What a row lacks, in words; null when it is one. */
export function lackOf(row: Fields): string | null {
  const hasAnswer = keyOf(row, 'answer') !== null || keyOf(row, 'references') !== null;
  const hasQuestion =
    row.manifest.question !== undefined ||
    keyOf(row, 'question') !== null ||
    row.has(row.manifest.columns?.input ?? 'input');
  if (hasAnswer && hasQuestion) return null;
  const forgotten = [...COLUMNS.answer, ...COLUMNS.references].find((name) => row.isPresent(name));
  if (hasQuestion && forgotten !== undefined)
    return `no answer: nothing stands under ${quote(forgotten)}; write it, or take the sample out`;
  if (hasQuestion)
    return `no answer (${COLUMNS.answer.slice(0, 6).join(', ')}); name its column in "columns": {"answer": …}`;
  const question = `no question (${COLUMNS.question.join(', ')}); name its column in "columns": {"question": …}, or write "question" into dataset.json`;
  return hasAnswer ? question : `${question}, and no answer`;
}

/** The key under which a column stands; null when there is none. */
function keyOf(row: Fields, column: Column): string | null {
  const named = row.manifest.columns?.[column];
  if (named !== undefined) return named;
  const isThere = (name: string) => (column === 'references' ? row.has(name) : row.has(name) || isEmptyText(row, name));
  return COLUMNS[column].find((name) => row.has(name)) ?? COLUMNS[column].find(isThere) ?? null;
}

/** An empty text is a cell that someone forgot, not a missing column. */
const isEmptyText = (row: Fields, name: string) => row.peek(name) === '';

function cell(row: Fields, column: Column): unknown {
  const key = keyOf(row, column);
  if (key === null) return null;
  if (row.manifest.columns?.[column] !== undefined && row.peek(key) === null)
    refuse(`no column ${quote(key)}, which "columns" names`);
  return row.take(key);
}

/** The question with all that it is about. */
function questionOf(row: Fields): string {
  const input = row.manifest.columns?.input ?? 'input';
  const parts = [
    ['context', row.take('context')],
    ['the question', cell(row, 'question') ?? row.manifest.question ?? null],
    [input, row.take(input)],
  ] as const;
  if (row.manifest.columns?.input !== undefined && parts[2][1] === null)
    refuse(`no column ${quote(input)}, which "columns" names`);
  const said = parts.filter(([, value]) => holds(value)).map(([what, value]) => readText(value, what, false));
  if (said.length === 0) refuse('the question is empty; write the text or remove the sample');
  return said.join('\n');
}

interface Answers {
  /** The value that is learned. */
  readonly learned: unknown;
  /** Texts that are accepted beside; none when only the learned one is. */
  readonly accepted: readonly string[];
}

function answersOf(row: Fields): Answers {
  const key = keyOf(row, 'answer');
  const value = cell(row, 'answer');
  const listed = acceptedIn(cell(row, 'references'), '"answers"', row);
  const ofTitle = row.has('context') && isObject(row.peek('answers'));
  if (ofTitle) row.take('title'); // SQuAD: of the article that the context is from
  if (key === 'label' && value === -1 && row.manifest.columns?.answer === undefined)
    return { learned: new NoClass(-1), accepted: [] };
  const own: Accepted = Array.isArray(value) || isObject(value) ? acceptedIn(value, `"${key}"`, row) : { texts: [] };
  if (own.texts.length > 1 && key === 'label' && row.manifest.columns?.references !== key)
    refuse(
      `"${key}" holds ${own.texts.length} labels, which are not one answer; join them into one text, or name it as "columns": {"references": ${quote(key)}} if any of them is right`,
    );
  const accepted = listed.texts.length > 0 ? listed.texts : own.texts;
  const learned = own.texts.length > 0 ? mostCommon(own.texts) : holds(value) ? value : mostCommon(accepted);
  if (learned === null && value !== '') refuse(`no answer: ${key ?? keyOf(row, 'references') ?? 'answer'} holds none`);
  return { learned: learned ?? value, accepted };
}
