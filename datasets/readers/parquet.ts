import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { decompress as zstd } from 'fzstd';
import { type Compressors, type FileMetaData, parquetMetadata, parquetReadObjects } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { DEFAULTS } from '../../core/defaults.ts';
import { parseJson } from '../../core/json.ts';
import { isObject } from './conversation.ts';
import { bad, type Entry, readEach, reason } from './each.ts';
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
    const found = await tableOf(await file.bytes(), path);
    const labels = labelNames(found.metadata, path);
    yield* readEach(entries(found.rows, labels, path), problems, (row, at) => rows.read(row, at, manifest));
  },
};

/** Reads whole, never unpacking more than `dataset.maxUnpackedBytes`. */
async function tableOf(bytes: Uint8Array, path: string) {
  const magic = (at: number) => Buffer.from(bytes.subarray(at, at + 4)).toString('latin1');
  if (bytes.length < 12 || magic(0) !== 'PAR1' || magic(bytes.length - 4) !== 'PAR1')
    throw bad(`${path}: not a whole Parquet file: it must begin and end with PAR1. Copy it again.`);
  const { buffer, byteOffset, byteLength } = bytes;
  const file = {
    byteLength,
    slice: (start: number, end: number = byteLength) =>
      buffer.slice(byteOffset + start, byteOffset + end) as ArrayBuffer,
  };
  try {
    const metadata = parquetMetadata(file.slice(0));
    checkSizes(metadata, bytes, path);
    // Columns of bytes that are no text stay bytes.
    const rows = await parquetReadObjects({ file, metadata, compressors, parsers, utf8: false });
    return { metadata, rows };
  } catch (error) {
    if (error instanceof Error && error.name === 'BadDataset') throw error;
    throw bad(
      `${path}: a Parquet file that cannot be read (${reason(error)}). Write it again, plain or packed by Snappy, gzip, Brotli or Zstandard.`,
      error,
    );
  }
}

/** Before anything is unpacked: every page says how large it is and how many values it holds. */
function checkSizes(metadata: FileMetaData, bytes: Uint8Array, path: string): void {
  const [mostBytes, mostRows] = [DEFAULTS['dataset.maxUnpackedBytes'].value, DEFAULTS['dataset.maxSamples'].value];
  const tooMuch = (what: string) => bad(`${path}: ${what}. Split it into several files.`);
  if (metadata.num_rows > mostRows) throw tooMuch(`${metadata.num_rows} rows, over the limit of ${mostRows}`);
  let unpacked = 0;
  let values = 0;
  for (const { columns } of metadata.row_groups)
    for (const { meta_data: column } of columns) {
      if (!column) throw bad(`${path}: a column without a description. Write it again.`);
      // Some writers say 0 for "no dictionary".
      const dictionary = Number(column.dictionary_page_offset ?? 0);
      const first = Number(column.data_page_offset);
      const start = dictionary > 0 && dictionary < first ? dictionary : first;
      const size = Number(column.total_compressed_size);
      if (!(start >= 0 && size >= 0 && start + size <= bytes.length))
        throw bad(`${path}: column ${column.path_in_schema.join('.')} lies outside of the file. Copy it again.`);
      const reader = { view: new DataView(bytes.buffer, bytes.byteOffset + start, size), offset: 0 };
      while (reader.offset < size - 1) {
        const page = parquetHeader(reader);
        reader.offset += page.compressed_page_size;
        const counts = [page.data_page_header, page.data_page_header_v2, page.dictionary_page_header];
        const count = Math.max(...counts.map((header) => header?.num_values ?? 0));
        if (!(page.compressed_page_size >= 0 && page.uncompressed_page_size >= 0) || reader.offset > size)
          throw bad(`${path}: a page of column ${column.path_in_schema.join('.')} is damaged. Copy it again.`);
        unpacked += page.uncompressed_page_size;
        values += count;
        if (unpacked > mostBytes) throw tooMuch(`unpacked, it is over the limit of ${mostBytes} bytes`);
        if (values > 20 * mostRows) throw tooMuch(`it holds over ${20 * mostRows} values`);
      }
    }
}

const compressors: Compressors = {
  GZIP: (input, length) => new Uint8Array(gunzipSync(input, { maxOutputLength: Math.max(1, length) })),
  BROTLI: (input, length) => new Uint8Array(brotliDecompressSync(input, { maxOutputLength: Math.max(1, length) })),
  ZSTD: (input, length) => zstd(input, new Uint8Array(length)),
};

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Texts as they are: what is no UTF-8 is refused, and a byte order mark at their beginning is part of them. */
const parsers = { stringFromBytes: (bytes: Uint8Array | undefined) => bytes && decoder.decode(bytes) };

function* entries(
  table: readonly Record<string, unknown>[],
  labels: ReadonlyMap<string, readonly string[]>,
  path: string,
): Generator<Entry> {
  for (const [i, row] of table.entries()) {
    const value = Object.fromEntries(
      Object.entries(row).map(([name, cell]) => {
        const plain = typeof cell === 'bigint' ? Number(cell) : cell;
        const names = labels.get(name);
        return [name, names && typeof plain === 'number' ? (names[plain] ?? null) : plain];
      }),
    );
    yield { value, place: `${path} row ${i + 1}` };
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
