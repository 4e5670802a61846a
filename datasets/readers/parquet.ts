import { readEach } from './each.ts';
import { featuresOf, readRow } from './features.ts';
import { openParquet, type ParquetTable } from './parquet-rows.ts';
import type { Reader } from './reader.ts';

/**
 * Parquet as the Hugging Face Hub keeps datasets: a row is a sample, its columns those of rows or a conversation. Images are
 * embedded as `{bytes, path}` or are paths, in columns of any name that the file's own description (`huggingface`) declares;
 * class numbers become the names that it gives. Pages may be plain or packed by Snappy, gzip, Brotli or Zstandard.
 */
export const parquet: Reader = {
  name: 'parquet',
  recognizes: ({ path }) => /\.parquet$/i.test(path),
  async *read(file, problems) {
    const { path, manifest } = file;
    const table = await openParquet(file);
    const text = table.metadata.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value;
    const features = featuresOf(text, path);
    yield* readEach(parquetRows(table, path), problems, (row, at) => readRow(row, at, manifest, features));
  },
};

/** Rows as entries. */
export async function* parquetRows(table: ParquetTable, path: string) {
  let i = 0;
  for await (const value of table.rows()) yield { value, place: `${path} row ${++i}` };
}
