import { IMAGE_MARKER, type Turn } from '../../core/sample.ts';
import type { Manifest } from '../manifest.ts';
import { quote } from '../problems.ts';
import { checkTurns, isObject, readId, readImages, readReferences, readText, refuse } from './conversation.ts';
import type { SampleFormat } from './json-samples.ts';
import { llava, sharegpt } from './llava.ts';
import { messages } from './messages.ts';

/** Names of columns in the order in which they are looked for. */
const COLUMNS = {
  id: ['id', 'question_id'],
  image: ['image', 'images'],
  question: ['question', 'prompt', 'query', 'instruction'],
  answer: ['answer', 'label', 'caption', 'text', 'response', 'output'],
  references: ['references', 'answers', 'captions'],
} as const;

/**
 * A row of a table: image, question, answer. Columns have these names or those that `columns` of the manifest gives; the
 * question is `question` of the manifest where a row has none (labels, captions). Several accepted answers stand in
 * `answers`; without an `answer`, the one that most of them give is learned. Rows that hold a conversation
 * (`messages`, `conversations`) are read as such.
 */
export const rows: SampleFormat = {
  name: 'rows',
  fits(row) {
    const has = (...columns: Column[]) => columns.some((column) => COLUMNS[column].some((name) => name in row));
    return has('image', 'question') && has('answer', 'references');
  },
  read(row, at, manifest) {
    const conversation = [messages, sharegpt, llava].find((format) => format.fits(row));
    if (conversation === llava) return llava.read({ ...row, id: row['id'] ?? at.place }, at, manifest);
    if (conversation) return conversation.read(row, at, manifest);
    const { place, where } = at;
    const images = readImages(cell(row, 'image', manifest), 'image', where);
    const question = readText(
      cell(row, 'question', manifest) ??
        manifest.question ??
        refuse(`no ${names('question', manifest)}; name it in "columns", or write "question" into dataset.json`),
      'the question',
      false,
    );
    const answers = answersOf(cell(row, 'references', manifest));
    const answer = readText(
      cell(row, 'answer', manifest) ??
        mostCommon(answers) ??
        refuse(`no ${names('answer', manifest)}; name it in "columns"`),
      'the answer',
      true,
    );
    const markers = question.includes(IMAGE_MARKER) ? '' : `${IMAGE_MARKER}\n`.repeat(images.length);
    const turns: Turn[] = [
      { role: 'user', text: `${markers}${question}` },
      { role: 'assistant', text: answer },
    ];
    checkTurns(turns, images.length, { user: 'question', assistant: 'answer' });
    return {
      id: readId(cell(row, 'id', manifest), place),
      where,
      turns,
      images,
      references: readReferences(answers.length > 0 ? answers : null, answer),
    };
  },
};

type Column = keyof typeof COLUMNS;

function cell(row: Record<string, unknown>, column: Column, manifest: Manifest): unknown {
  const [named] = [manifest.columns?.[column] ?? []].flat();
  if (named !== undefined) return row[named] ?? refuse(`no column ${quote(named)}, which "columns" names`);
  const value = COLUMNS[column].map((name) => row[name]).find((found) => found !== undefined && found !== null);
  return column === 'answer' && (typeof value === 'number' || typeof value === 'boolean') ? String(value) : value;
}

const names = (column: Column, manifest: Manifest) =>
  `column ${manifest.columns?.[column] ?? COLUMNS[column].slice(0, 3).join(', ')}`;

/** Accepted answers: texts, or objects with an `answer` as VQA has them. */
function answersOf(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) refuse(`"answers" must be a list, not ${quote(value)}`);
  return value.map((item: unknown, i) => readText(isObject(item) ? item['answer'] : item, `answer ${i + 1}`, true));
}

function mostCommon(answers: readonly string[]): string | null {
  const counts = new Map<string, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  return [...counts].reduce<[string | null, number]>((best, each) => (each[1] > best[1] ? each : best), [null, 0])[0];
}
