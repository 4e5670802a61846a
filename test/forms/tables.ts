import { parquetWriteBuffer } from 'hyparquet-writer';
import { type Form, type Limits, onlyPicture, type PlainSample, pairOf, picturePath, plainPair } from './plain.ts';

/* Tables: Parquet as the Hub keeps it, and what else has columns. */

type SchemaElement = NonNullable<Parameters<typeof parquetWriteBuffer>[0]['schema']>[number];

/** A type of column: how Parquet describes it, and how the Hub's description in the file does. */
interface Column {
  schema(name: string): SchemaElement[];
  readonly feature: unknown;
}

const TEXT: Column = {
  schema: (name) => [{ name, type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' }],
  feature: { dtype: 'string', _type: 'Value' },
};
const BYTES: Column = {
  schema: (name) => [{ name, type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' }],
  feature: { dtype: 'binary', _type: 'Value' },
};

const struct = (fields: Readonly<Record<string, Column>>): Column => ({
  schema: (name) => [
    { name, repetition_type: 'OPTIONAL', num_children: Object.keys(fields).length },
    ...Object.entries(fields).flatMap(([field, column]) => column.schema(field)),
  ],
  feature: Object.fromEntries(Object.entries(fields).map(([field, { feature }]) => [field, feature])),
});
const list = (of: Column): Column => ({
  schema: (name) => [
    { name, repetition_type: 'OPTIONAL', converted_type: 'LIST', num_children: 1 },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    ...of.schema('element'),
  ],
  feature: { feature: of.feature, _type: 'List' },
});
const IMAGE: Column = { ...struct({ bytes: BYTES, path: TEXT }), feature: { _type: 'Image' } };

type Columns = Readonly<Record<string, Column>>;
type Row = Readonly<Record<string, unknown>>;

/** A Parquet file with the description that Hugging Face datasets writes into it. */
export function parquetFile(columns: Columns, rows: readonly Row[]): Uint8Array {
  const names = Object.keys(columns);
  const features = Object.fromEntries(names.map((name) => [name, columns[name]!.feature]));
  return new Uint8Array(
    parquetWriteBuffer({
      schema: [{ name: 'schema', num_children: names.length }, ...names.flatMap((name) => columns[name]!.schema(name))],
      columnData: names.map((name) => ({ name, data: rows.map((row) => row[name] ?? null) })),
      kvMetadata: [{ key: 'huggingface', value: JSON.stringify({ info: { features } }) }],
    }),
  );
}

/** A CSV file; every cell is quoted. */
export function csvFile(rows: readonly Readonly<Record<string, string | undefined>>[]): string {
  const names = Object.keys(rows[0] ?? {});
  const line = (cells: readonly string[]) => `${cells.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(',')}\n`;
  return [line(names), ...rows.map((row) => line(names.map((name) => row[name] ?? '')))].join('');
}

const embedded = (bytes: Uint8Array) => ({ bytes, path: picturePath(bytes) });
const shard = (split: string) => `data/${split}-00000-of-00001.parquet`;

function parquetForm(name: string, columns: Columns, limits: Limits, row: (sample: PlainSample) => Row): Form {
  return {
    name,
    limits,
    write: (split, samples) => ({
      samples: shard(split),
      files: { [shard(split)]: parquetFile(columns, samples.map(row)) },
    }),
  };
}

export const TABLE_FORMS: readonly Form[] = [
  parquetForm(
    'parquet of rows',
    { id: TEXT, image: IMAGE, question: TEXT, answer: TEXT, answers: list(TEXT) },
    { pair: true, pictures: 'at most one', markers: 'before' },
    (sample) => ({
      id: sample.id,
      image: sample.pictures.length > 0 ? embedded(onlyPicture(sample)) : null,
      ...plainPair(sample),
      answers: sample.references,
    }),
  ),
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
    'parquet of conversations',
    {
      id: TEXT,
      images: list(IMAGE),
      messages: list(struct({ role: TEXT, content: TEXT })),
      references: list(TEXT),
    },
    {},
    (sample) => ({
      id: sample.id,
      images: sample.pictures.map(embedded),
      messages: sample.turns.map(({ role, text }) => ({ role, content: text })),
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
