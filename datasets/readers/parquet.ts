import type { FileMetaData } from 'hyparquet';
import { parseJson } from '../../core/json.ts';
import { isObject } from './conversation.ts';
import { type Entry, readEach } from './each.ts';
import { openParquet, type ParquetTable } from './parquet-rows.ts';
import type { Reader } from './reader.ts';
import { rows } from './rows.ts';

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
    const labels = labelNames(table.metadata, path);
    yield* readEach(entries(table, labels, path), problems, (row, at) => rows.read(row, at, manifest));
  },
};

async function* entries(
  table: ParquetTable,
  labels: ReadonlyMap<string, readonly string[]>,
  path: string,
): AsyncGenerator<Entry> {
  let i = 0;
  for await (const row of table.rows()) {
    const value = Object.fromEntries(
      Object.entries(row).map(([name, cell]) => {
        const plain = typeof cell === 'bigint' ? Number(cell) : cell;
        const names = labels.get(name);
        return [name, names && typeof plain === 'number' ? (names[plain] ?? null) : plain];
      }),
    );
    yield { value, place: `${path} row ${++i}` };
  }
}

/** Names of classes by column, as Hugging Face datasets writes them into the file. */
function labelNames(metadata: FileMetaData, path: string): Map<string, string[]> {
  const names = new Map<string, string[]>();
  const text = metadata.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value;
  const described = text === undefined ? null : parseJson(text, `${path} (huggingface)`, { errorName: 'BadDataset' });
  const info = isObject(described) && isObject(described['info']) ? described['info'] : {};
  for (const [column, feature] of Object.entries(isObject(info['features']) ? info['features'] : {}))
    if (isObject(feature) && feature['_type'] === 'ClassLabel' && Array.isArray(feature['names']))
      names.set(column, feature['names'].map(String));
  return names;
}
