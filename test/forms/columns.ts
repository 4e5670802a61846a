import {
  binary,
  columnFromArray,
  type DataType,
  field,
  list as listType,
  struct as structType,
  tableFromColumns,
  tableToIPC,
  utf8,
} from '@uwdata/flechette';
import { parquetWriteBuffer } from 'hyparquet-writer';

type SchemaElement = NonNullable<Parameters<typeof parquetWriteBuffer>[0]['schema']>[number];

/** A type of column: how Parquet describes it, and how the Hub's description in the file does. */
export interface Column {
  schema(name: string): SchemaElement[];
  readonly feature: unknown;
  readonly arrow: DataType;
}

export const TEXT: Column = {
  schema: (name) => [{ name, type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' }],
  feature: { dtype: 'string', _type: 'Value' },
  arrow: utf8(),
};
const BYTES: Column = {
  schema: (name) => [{ name, type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' }],
  feature: { dtype: 'binary', _type: 'Value' },
  arrow: binary(),
};

export const struct = (fields: Readonly<Record<string, Column>>): Column => ({
  schema: (name) => [
    { name, repetition_type: 'OPTIONAL', num_children: Object.keys(fields).length },
    ...Object.entries(fields).flatMap(([name, column]) => column.schema(name)),
  ],
  feature: Object.fromEntries(Object.entries(fields).map(([name, { feature }]) => [name, feature])),
  arrow: structType(Object.entries(fields).map(([name, column]) => field(name, column.arrow))),
});
export const list = (of: Column): Column => ({
  schema: (name) => [
    { name, repetition_type: 'OPTIONAL', converted_type: 'LIST', num_children: 1 },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    ...of.schema('element'),
  ],
  feature: { feature: of.feature, _type: 'List' },
  arrow: listType(of.arrow),
});
export const IMAGE: Column = { ...struct({ bytes: BYTES, path: TEXT }), feature: { _type: 'Image' } };

export type Columns = Readonly<Record<string, Column>>;
export type Row = Readonly<Record<string, unknown>>;

/** What Hugging Face datasets writes into a file about its columns. */
const described = (columns: Columns) =>
  JSON.stringify({
    info: { features: Object.fromEntries(Object.entries(columns).map(([name, { feature }]) => [name, feature])) },
  });

/** A Parquet file with the description that Hugging Face datasets writes into it. */
export function parquetFile(columns: Columns, rows: readonly Row[]): Uint8Array {
  const names = Object.keys(columns);
  return new Uint8Array(
    parquetWriteBuffer({
      schema: [{ name: 'schema', num_children: names.length }, ...names.flatMap((name) => columns[name]!.schema(name))],
      columnData: names.map((name) => ({ name, data: rows.map((row) => row[name] ?? null) })),
      kvMetadata: [{ key: 'huggingface', value: described(columns) }],
    }),
  );
}

/** An Arrow stream, as `save_to_disk` writes it. */
export function arrowFile(columns: Columns, rows: readonly Row[]): Uint8Array {
  const table = tableFromColumns(
    Object.entries(columns).map(([name, { arrow }]) => [
      name,
      columnFromArray(
        rows.map((row) => row[name] ?? null),
        arrow,
      ),
    ]),
  );
  table.schema.metadata = new Map([['huggingface', described(columns)]]);
  return tableToIPC(table, { format: 'stream' })!;
}
