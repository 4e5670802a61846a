import { pipeline, Readable } from 'node:stream';
import { parse } from 'csv-parse';
import { DEFAULTS } from '../../core/defaults.ts';
import { isLiloraError } from '../../core/errors.ts';
import { readSample } from '../forms/read-sample.ts';
import { refuseByteOrderMark } from '../manifest.ts';
import { bad, type Entry, readEach, reason } from './each.ts';
import { piecesOf } from './json-text.ts';
import type { Reader, SamplesFile } from './reader.ts';

/** Rows of a table as text: `.csv` with commas, semicolons or tabs, whichever its first line has, and `.tsv`. */
export const csv: Reader = {
  name: 'csv',
  recognizes: ({ path }) => /\.(?:csv|tsv)$/i.test(path),
  async *read(file, problems) {
    yield* readEach(csvRows(file), problems, (row, at) => readSample(row, at, file.manifest));
  },
};

/** Bytes in which the first line must end. */
const BEGINNING = 64 * 2 ** 10;

/** The rows of a file as entries, whatever its size. Cells are texts as they are written; an empty one is null. */
export async function* csvRows(file: SamplesFile): AsyncGenerator<Entry> {
  const { path } = file;
  const start = await file.slice(0, Math.min(BEGINNING, file.size));
  // Spreadsheets begin UTF-8 with a byte order mark, which is no part of the first column's name.
  if (start[0] !== 0xef) refuseByteOrderMark(start, path);
  const delimiter = /\.tsv$/i.test(path) ? '\t' : delimiterOf(new TextDecoder().decode(start));
  const parser = parse({
    info: true,
    bom: true,
    delimiter,
    skip_empty_lines: true,
    max_record_size: 16 * DEFAULTS['dataset.maxTextLength'].value,
  });
  // What goes wrong comes out of the parser.
  pipeline(Readable.from(textOf(file)), parser, () => {});
  let head: string[] | null = null;
  try {
    for await (const each of parser) {
      // `info.lines` counts the lines read so far: where the record ends.
      const { record, info } = each as { record: string[]; info: { lines: number } };
      if (head === null) {
        head = record;
        const twice = record.find((name, i) => record.indexOf(name) < i);
        if (twice !== undefined) throw bad(`${path}:1: a column stands there twice. Rename one.`);
        continue;
      }
      const cells = head.map((name, i) => [name, record[i] === '' ? null : record[i]]);
      yield { value: Object.fromEntries(cells), place: `${path}:${info.lines}` };
    }
  } catch (error) {
    if (isLiloraError(error)) throw error;
    throw bad(`${path}: not a CSV file that can be read (${reason(error)}). Correct it.`, error);
  } finally {
    parser.destroy();
  }
}

/** The text of a file piece by piece; what is no UTF-8 is `BadDataset`. */
async function* textOf(file: SamplesFile): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  try {
    for await (const piece of piecesOf(file)) yield decoder.decode(piece, { stream: true });
    yield decoder.decode();
  } catch (error) {
    if (isLiloraError(error)) throw error;
    throw bad(`${file.path}: not valid UTF-8. Save the file as UTF-8.`, error);
  }
}

/** What stands between the names of the first line, outside of quotes: most often a comma. */
function delimiterOf(start: string): string {
  const line = start.split(/\r?\n|\r/, 1)[0]!.replaceAll(/"(?:[^"]|"")*"/g, '');
  const count = (delimiter: string) => line.split(delimiter).length;
  return [',', ';', '\t'].reduce((most, each) => (count(each) > count(most) ? each : most));
}
