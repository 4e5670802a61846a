import { arrowFile, type Columns, IMAGE, list, parquetFile, type Row, struct, TEXT } from './columns.ts';
import {
  type Form,
  type Limits,
  onlyPicture,
  type PlainSample,
  pairOf,
  pictureFiles,
  picturePath,
  picturePaths,
  plainPair,
} from './plain.ts';

/* Tables: Parquet as the Hub keeps it, Arrow as save_to_disk does, and CSV. */

/** A CSV file; every cell is quoted. */
export function csvFile(rows: readonly Readonly<Record<string, string | undefined>>[]): string {
  const names = Object.keys(rows[0] ?? {});
  const line = (cells: readonly string[]) => `${cells.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(',')}\n`;
  return [line(names), ...rows.map((row) => line(names.map((name) => row[name] ?? '')))].join('');
}

const embedded = (bytes: Uint8Array) => ({ bytes, path: picturePath(bytes) });
const shard = (split: string) => `data/${split}-00000-of-00001.parquet`;

/** A path, or several as a list in JSON. */
function picturesCell(sample: PlainSample): string {
  const paths = picturePaths(sample);
  return paths.length === 1 ? paths[0]! : paths.length > 1 ? JSON.stringify(paths) : '';
}

/** What of a sample stands in which column. */
type RowOf = (sample: PlainSample) => Row;

function parquetForm(name: string, columns: Columns, limits: Limits, row: RowOf): Form {
  return {
    name,
    limits,
    write: (split, samples) => ({
      samples: shard(split),
      files: { [shard(split)]: parquetFile(columns, samples.map(row)) },
    }),
  };
}

function arrowForm(name: string, columns: Columns, limits: Limits, row: RowOf): Form {
  return {
    name,
    limits,
    write: (split, samples) => ({
      samples: `${split}/data-00000-of-00001.arrow`,
      files: {
        [`${split}/data-00000-of-00001.arrow`]: arrowFile(columns, samples.map(row)),
        [`${split}/state.json`]: JSON.stringify({ _data_files: [{ filename: 'data-00000-of-00001.arrow' }] }),
      },
    }),
  };
}

/** A table of chat messages. */
const CONVERSATIONS: readonly [Columns, Limits, RowOf] = [
  { id: TEXT, images: list(IMAGE), messages: list(struct({ role: TEXT, content: TEXT })), references: list(TEXT) },
  {},
  (sample) => ({
    id: sample.id,
    images: sample.pictures.map(embedded),
    messages: sample.turns.map(({ role, text }) => ({ role, content: text })),
    references: sample.references,
  }),
];
/** A table of questions, each about at most one picture. */
const QUESTIONS: readonly [Columns, Limits, RowOf] = [
  { id: TEXT, image: IMAGE, question: TEXT, answer: TEXT, answers: list(TEXT) },
  { pair: true, pictures: 'at most one', markers: 'before' },
  (sample) => ({
    id: sample.id,
    image: sample.pictures.length > 0 ? embedded(onlyPicture(sample)) : null,
    ...plainPair(sample),
    answers: sample.references,
  }),
];

export const TABLE_FORMS: readonly Form[] = [
  {
    name: 'csv',
    limits: { pair: true },
    write: (split, samples) => ({
      samples: `${split}.csv`,
      files: {
        [`${split}.csv`]: csvFile(
          samples.map((sample) => ({
            id: sample.id,
            image: picturesCell(sample),
            ...pairOf(sample)!,
            answers: sample.references && JSON.stringify(sample.references),
          })),
        ),
        ...pictureFiles(samples),
      },
    }),
  },
  parquetForm('parquet of rows', ...QUESTIONS),
  arrowForm('saved to disk, rows', ...QUESTIONS),
  parquetForm('parquet of conversations', ...CONVERSATIONS),
  arrowForm('saved to disk, conversations', ...CONVERSATIONS),
  parquetForm(
    'parquet of rows with several pictures',
    { id: TEXT, images: list(IMAGE), question: TEXT, answer: TEXT, references: list(TEXT) },
    { pair: true },
    (sample) => ({
      id: sample.id,
      images: sample.pictures.map(embedded),
      ...pairOf(sample),
      references: sample.references,
    }),
  ),
  parquetForm(
    'parquet of texts',
    { id: TEXT, images: list(IMAGE), texts: list(struct({ user: TEXT, assistant: TEXT })), references: list(TEXT) },
    { system: 'none' },
    (sample) => {
      const said = sample.turns.map(({ text }) => text);
      const texts = said.flatMap((user, i) => (i % 2 === 0 ? [{ user, assistant: said[i + 1] }] : []));
      return { id: sample.id, images: sample.pictures.map(embedded), texts, references: sample.references };
    },
  ),
  parquetForm(
    'parquet of conversations as lists in a struct',
    {
      id: TEXT,
      images: list(IMAGE),
      conversations: struct({ from: list(TEXT), value: list(TEXT) }),
      references: list(TEXT),
    },
    {},
    (sample) => ({
      id: sample.id,
      images: sample.pictures.map(embedded),
      conversations: {
        from: sample.turns.map(({ role }) => ({ user: 'human', assistant: 'gpt', system: 'system' })[role]),
        value: sample.turns.map(({ text }) => text),
      },
      references: sample.references,
    }),
  ),
];
