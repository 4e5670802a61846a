import { type ColumnMetaData, type Compressors, type PageHeader, parquetSchema, type SchemaElement } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { decompressPage } from 'hyparquet/src/datapage.js';
import { readRleBitPackedHybrid } from 'hyparquet/src/encoding.js';
import { getMaxRepetitionLevel, getTreePath } from 'hyparquet/src/schema.js';
import { bad } from './each.ts';
import type { SamplesFile } from './reader.ts';

/** A page of one column: where it lies, and which rows begin in it. */
export interface Page {
  readonly offset: number;
  /** Packed, with its header. */
  readonly bytes: number;
  /** Bytes once unpacked. */
  readonly unpacked: number;
  readonly values: number;
  /** The first row that begins in it, counted from its row group on; null for a dictionary, or where nobody asked. */
  readonly firstRow: number | null;
}

type Bytes = Pick<SamplesFile, 'slice'>;

/** Long enough for most headers; those with long statistics are read again. */
const HEADER = 1024;
const LONGEST_HEADER = 16 * 2 ** 20;

/** Where a column of a row group lies. Some writers say 0 for "no dictionary". */
export function placeOf(column: ColumnMetaData): { readonly start: number; readonly end: number } {
  const dictionary = Number(column.dictionary_page_offset ?? 0);
  const first = Number(column.data_page_offset);
  const start = dictionary > 0 && dictionary < first ? dictionary : first;
  return { start, end: start + Number(column.total_compressed_size) };
}

/**
 * The pages of a column, read from their headers alone: every page says how large it is and how many values it holds.
 * @param rows also tell which rows begin in each; pages of lists in the older form must be unpacked for it
 */
export async function* pagesOf(
  file: Bytes,
  path: string,
  column: ColumnMetaData,
  rows: { readonly schema: SchemaElement[]; readonly compressors: Compressors } | null,
): AsyncGenerator<Page> {
  const damaged = () => bad(`${path}: a page of column ${column.path_in_schema.join('.')} is damaged. Copy it again.`);
  const { start, end } = placeOf(column);
  const deepest = rows === null ? 0 : repetitionOf(rows.schema, column);
  let firstRow = 0;
  for (let at = start; at < end - 1; ) {
    const { header, length } = await headerAt(file, at, end, damaged);
    const { compressed_page_size: packed, uncompressed_page_size: unpacked } = header;
    if (!(packed >= 0 && unpacked >= 0) || at + length + packed > end) throw damaged();
    const counts = [header.data_page_header, header.data_page_header_v2, header.dictionary_page_header];
    const values = Math.max(...counts.map((count) => count?.num_values ?? 0));
    const page = { offset: at, bytes: length + packed, unpacked, values };
    at += length + packed;
    const isData = header.type === 'DATA_PAGE' || header.type === 'DATA_PAGE_V2';
    if (rows === null || !isData) {
      yield { ...page, firstRow: null };
      continue;
    }
    const { begun, whole } =
      header.data_page_header_v2 !== undefined
        ? { begun: header.data_page_header_v2.num_rows, whole: true }
        : deepest === 0
          ? { begun: values, whole: true }
          : rowsBegun(await file.slice(at - packed, at), header, column, deepest, rows.compressors);
    // A page that begins within a list belongs to the page before.
    yield { ...page, firstRow: whole ? firstRow : null };
    firstRow += begun;
  }
}

async function headerAt(
  file: Bytes,
  at: number,
  end: number,
  damaged: () => Error,
): Promise<{ header: PageHeader; length: number }> {
  for (let size = HEADER; ; size *= 16) {
    const bytes = await file.slice(at, Math.min(end, at + size));
    const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 };
    try {
      return { header: parquetHeader(reader), length: reader.offset };
    } catch {
      if (at + size >= end || size >= LONGEST_HEADER) throw damaged();
    }
  }
}

/** How deep lists lie within lists; 0 for a column with one value for every row. */
function repetitionOf(schema: SchemaElement[], column: ColumnMetaData): number {
  return getMaxRepetitionLevel(getTreePath(parquetSchema({ schema } as never), column.path_in_schema));
}

/** Rows that begin in a page of lists: values that repeat nothing. `whole`: the page begins with one. */
function rowsBegun(
  packed: Uint8Array,
  header: PageHeader,
  column: ColumnMetaData,
  deepest: number,
  compressors: Compressors,
): { begun: number; whole: boolean } {
  const page = decompressPage(packed, Number(header.uncompressed_page_size), column.codec, compressors);
  const reader = { view: new DataView(page.buffer, page.byteOffset, page.byteLength), offset: 0 };
  const levels: number[] = new Array(header.data_page_header!.num_values);
  readRleBitPackedHybrid(reader, Math.ceil(Math.log2(deepest + 1)), levels);
  let begun = 0;
  for (const level of levels) if (level === 0) begun++;
  return { begun, whole: levels[0] === 0 };
}
