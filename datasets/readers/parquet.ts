import { readSample } from '../forms/read-sample.ts';
import { type Entry, readEach } from './each.ts';
import { type Features, featuresOf, named } from './features.ts';
import { openParquet, type ParquetTable } from './parquet-rows.ts';
import type { Reader } from './reader.ts';

/**
 * Parquet as the Hugging Face Hub keeps datasets: a row is a sample, its columns those of rows or a conversation. Images are
 * embedded as `{bytes, path}` or are paths; labels that are class numbers become the names that the file's own description
 * (`huggingface`) gives. Pages may be plain or packed by Snappy, gzip, Brotli or Zstandard.
 */
export const parquet: Reader = {
  name: 'parquet',
  recognizes: ({ path }) => /\.parquet$/i.test(path),
  async *read(file, problems) {
    const { path, manifest } = file;
    const table = await openParquet(file);
    const features = featuresOf(table.metadata, path);
    yield* readEach(entries(table, features, path), problems, (row, at) =>
      readSample(row, { ...at, imageColumns: features.images }, manifest),
    );
  },
};

async function* entries(table: ParquetTable, { labels }: Features, path: string): AsyncGenerator<Entry> {
  let i = 0;
  for await (const row of table.rows()) {
    const value = Object.fromEntries(
      Object.entries(row).map(([name, cell]) => {
        const isSafe = typeof cell === 'bigint' && Number.isSafeInteger(Number(cell));
        return [name, named(isSafe ? Number(cell) : cell, labels.get(name))];
      }),
    );
    yield { value, place: `${path} row ${++i}` };
  }
}
