import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { decompress as zstd } from 'fzstd';
import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
  type RowGroup,
} from 'hyparquet';
import { DEFAULTS } from '../../core/defaults.ts';
import { isLiloraError } from '../../core/errors.ts';
import { bad, reason } from './each.ts';
import { pagesOf, placeOf } from './parquet-pages.ts';
import { asStored, checkDecimals, exact, PARSERS } from './parquet-values.ts';
import type { SamplesFile } from './reader.ts';

/** Bytes, unpacked, of the rows that are read together; a row group of more is read in parts. */
const WINDOW = 64 * 2 ** 20;
/** Columns of up to so many bytes are asked for at once. */
const TOGETHER = 2 ** 21;

/** A Parquet file that is read a few rows at a time. */
export interface ParquetTable {
  readonly metadata: FileMetaData;
  /** Every row, in order, its values as they were written. At most `dataset.maxUnpackedBytes` of them are unpacked at once. */
  rows(): AsyncGenerator<Record<string, unknown>>;
}

/**
 * Opens a Parquet file by its last bytes. What cannot be read is `BadDataset`, here or while rows are read.
 * @param window bytes, unpacked, of the rows that are read together
 */
export async function openParquet(samples: SamplesFile, window = WINDOW): Promise<ParquetTable> {
  const { path, size } = samples;
  const magic = async (at: number) => Buffer.from(await samples.slice(at, at + 4)).toString('latin1');
  if (size < 12 || (await magic(0)) !== 'PAR1' || (await magic(size - 4)) !== 'PAR1')
    throw bad(`${path}: not a whole Parquet file: it must begin and end with PAR1. Copy it again.`);
  const metadata = await readable(path, () => parquetMetadataAsync(bufferOf(samples)));
  checkDecimals(metadata, path);
  const most = DEFAULTS['dataset.maxSamples'].value;
  if (metadata.num_rows > most) throw tooMuch(path, `${metadata.num_rows} rows, over the limit of ${most}`);
  return {
    metadata,
    async *rows() {
      for (const group of metadata.row_groups) yield* rowsOf(samples, metadata, group, window);
    },
  };
}

/** What goes wrong while a Parquet file is read lies in the file. */
async function readable<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (isLiloraError(error)) throw error;
    throw bad(
      `${path}: a Parquet file that cannot be read (${reason(error)}). Write it again, plain or packed by Snappy, gzip, Brotli or Zstandard.`,
      error,
    );
  }
}

const tooMuch = (path: string, what: string) => bad(`${path}: ${what}. Split it into several files.`);

async function* rowsOf(
  samples: SamplesFile,
  metadata: FileMetaData,
  group: RowGroup,
  window: number,
): AsyncGenerator<Record<string, unknown>> {
  const { path } = samples;
  const file = await groupFile(samples, group, window);
  const pages = await readable(path, () => pagesOfGroup(file, path, metadata, group, window));
  const tree = parquetSchema(metadata);
  const schema = metadata.schema.map(asStored);
  for (const [from, to] of pages.windows) {
    pages.check(from, to);
    // One group alone: looking for it among thousands would take longer than reading it.
    const options = {
      file: bufferOf(file),
      metadata: { ...metadata, schema, row_groups: [group], num_rows: group.num_rows },
      compressors: COMPRESSORS,
      parsers: PARSERS,
      // Columns of bytes that are no text stay bytes.
      utf8: false,
      rowStart: from,
      rowEnd: to,
      pageLocationsByGroup: [pages.locations],
    };
    const rows = await readable(path, () => parquetReadObjects(options));
    for (const row of rows) yield exact(row, tree) as Record<string, unknown>;
  }
}

type Bytes = Pick<SamplesFile, 'path' | 'size' | 'slice'>;

/** The bytes of a row group: read at once where they are few, else from the file as they are needed. */
async function groupFile(samples: SamplesFile, { columns }: RowGroup, window: number): Promise<Bytes> {
  const { path, size } = samples;
  const places = columns.map(({ meta_data: column }) => {
    if (!column) throw bad(`${path}: a column without a description. Write it again.`);
    const place = placeOf(column);
    if (place.start >= 0 && place.end >= place.start && place.end <= size) return place;
    throw bad(`${path}: column ${column.path_in_schema.join('.')} lies outside of the file. Copy it again.`);
  });
  const start = Math.min(...places.map((place) => place.start));
  const end = Math.max(...places.map((place) => place.end));
  const bytes = places.reduce((sum, place) => sum + place.end - place.start, 0);
  if (!(Math.max(bytes, end - start) <= window)) return samples;
  const held: { readonly start: number; readonly end: number; readonly bytes: Uint8Array }[] = [];
  // Columns that are asked for one by one are then handed on without a copy.
  for (const place of end - start <= TOGETHER ? [{ start, end }] : places)
    held.push({ ...place, bytes: await samples.slice(place.start, place.end) });
  return {
    path,
    size,
    async slice(from, to) {
      const found = held.find((place) => from >= place.start && to <= place.end);
      return found ? found.bytes.subarray(from - found.start, to - found.start) : samples.slice(from, to);
    },
  };
}

interface Location {
  readonly offset: bigint;
  compressed_page_size: number;
  readonly first_row_index: bigint;
  /** Bytes once unpacked. */
  unpacked: number;
}

/** Where the pages of a row group lie. Before anything is unpacked, it is known what it will take. */
async function pagesOfGroup(file: Bytes, path: string, metadata: FileMetaData, group: RowGroup, window: number) {
  const [mostBytes, mostRows] = [DEFAULTS['dataset.maxUnpackedBytes'].value, DEFAULTS['dataset.maxSamples'].value];
  const count = Number(group.num_rows);
  const said = group.columns.reduce((sum, { meta_data: column }) => sum + Number(column!.total_uncompressed_size), 0);
  const rows = said > window ? { schema: metadata.schema, compressors: COMPRESSORS } : null;
  const locations: Record<string, Location[]> = {};
  let unpacked = 0;
  let always = 0;
  let values = 0;
  for (const { meta_data: column } of group.columns) {
    const found: Location[] = [];
    for await (const page of pagesOf(file, path, column!, rows)) {
      unpacked += page.unpacked;
      values += page.values;
      if (values > 20 * mostRows) throw tooMuch(path, `it holds over ${20 * mostRows} values`);
      const before = found.at(-1);
      if (page.firstRow !== null)
        found.push({
          offset: BigInt(page.offset),
          compressed_page_size: page.bytes,
          first_row_index: BigInt(page.firstRow),
          unpacked: page.unpacked,
        });
      else if (before) {
        before.compressed_page_size += page.bytes;
        before.unpacked += page.unpacked;
      } else always += page.unpacked;
    }
    if (found.length > 0) locations[column!.path_in_schema.join('.')] = found;
  }
  const lists = Object.values(locations);
  /** Refuses rows that would unpack to more than the memory is to hold. */
  const check = (from: number, to: number) => {
    const needed = rows === null ? unpacked : always + unpackedWithin(lists, from, to, count);
    if (needed > mostBytes) throw tooMuch(path, `unpacked, it is over the limit of ${mostBytes} bytes`);
  };
  return {
    locations,
    check,
    windows: rows === null ? [[0, count] as const] : windowsOf(lists, unpacked, count, window),
  };
}

/** Bytes of all pages that hold some of these rows. */
function unpackedWithin(columns: readonly Location[][], from: number, to: number, count: number): number {
  let bytes = 0;
  for (const pages of columns)
    for (const [i, page] of pages.entries()) {
      const next = i + 1 < pages.length ? Number(pages[i + 1]!.first_row_index) : count;
      if (next > from && Number(page.first_row_index) < to) bytes += page.unpacked;
    }
  return bytes;
}

/** Rows that are read together: they begin where pages of the largest column do, so that few pages are unpacked twice. */
function windowsOf(
  columns: readonly Location[][],
  unpacked: number,
  count: number,
  window: number,
): [from: number, to: number][] {
  const sizeOf = (pages: readonly Location[]) => pages.reduce((sum, page) => sum + page.unpacked, 0);
  const largest = columns.reduce((most, pages) => (sizeOf(pages) > sizeOf(most) ? pages : most), []);
  const share = unpacked / Math.max(1, sizeOf(largest));
  const windows: [from: number, to: number][] = [];
  let from = 0;
  let bytes = 0;
  for (const page of largest) {
    const start = Number(page.first_row_index);
    if (start > from && (bytes + page.unpacked) * share > window) {
      windows.push([from, start]);
      [from, bytes] = [start, 0];
    }
    bytes += page.unpacked;
  }
  if (count > from) windows.push([from, count]);
  return windows;
}

function bufferOf({ size, slice }: Bytes): AsyncBuffer {
  return {
    byteLength: size,
    slice: async (start, end = size) => {
      const bytes = await slice(start, end);
      const { buffer, byteOffset, byteLength } = bytes;
      const isWhole = byteLength === buffer.byteLength;
      return (isWhole ? buffer : buffer.slice(byteOffset, byteOffset + byteLength)) as ArrayBuffer;
    },
  };
}

const COMPRESSORS: Compressors = {
  GZIP: (input, length) => new Uint8Array(gunzipSync(input, { maxOutputLength: Math.max(1, length) })),
  BROTLI: (input, length) => new Uint8Array(brotliDecompressSync(input, { maxOutputLength: Math.max(1, length) })),
  ZSTD: (input, length) => zstd(input, new Uint8Array(length)),
};
