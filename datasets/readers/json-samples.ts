import { parseJson } from '../../core/json.ts';
import { FORMS, readSample } from '../forms/read-sample.ts';
import { isObject } from '../forms/values.ts';
import { refuseByteOrderMark } from '../manifest.ts';
import type { Problems } from '../problems.ts';
import { bad, type Entry, readEach } from './each.ts';
import { jsonItems, jsonLines, linesOf } from './json-text.ts';
import type { Reader, SamplesFile } from './reader.ts';

/**
 * Reads a JSON array or one object per line, whichever the file holds (`.json`, `.jsonl`).
 * @param form that every sample is of; without it each is read in the form that fits it
 */
function jsonReader(name: string, form?: string): Reader {
  return {
    name,
    recognizes: ({ path }) => form === undefined && /\.jsonl?$/i.test(path),
    async *read(file, problems) {
      const { path, manifest } = file;
      refuseByteOrderMark(await file.slice(0, Math.min(4, file.size)), path);
      const entries = await entriesOf(file, problems);
      yield* readEach(entries, problems, (sample, at) => readSample(sample, at, manifest, form));
    },
  };
}

/** The reader of all JSON, and one for each form by name. */
export const jsonReaders: readonly Reader[] = [jsonReader('json'), ...FORMS.map(({ name }) => jsonReader(name, name))];

/** Bytes in which a file of samples must begin. */
const BEGINNING = 64 * 2 ** 10;

async function entriesOf(file: SamplesFile, problems: Problems): Promise<AsyncIterable<Entry>> {
  const { path, size } = file;
  if (!/\.jsonl?$/i.test(path)) throw bad(`${path}: the name must end in .json or .jsonl. Rename the file.`);
  const beginning = new TextDecoder().decode(await file.slice(0, Math.min(BEGINNING, size))).trimStart();
  if (beginning.startsWith('[')) return jsonItems(file);
  if (/\.json$/i.test(path) && !beginning.startsWith('{')) return jsonItems(file);
  if (/\.json$/i.test(path)) await refuseOneObject(file);
  return jsonLines(file, problems);
}

/** A `.json` that begins with an object holds one per line, or is one: then the samples are within, or it is a table by columns. */
async function refuseOneObject(file: SamplesFile): Promise<void> {
  for await (const { bytes } of linesOf(file)) {
    if (bytes.every((byte) => byte <= 0x20)) continue;
    if (isOneObject(bytes)) return;
    throw bad(
      `${file.path}: a JSON array of samples, or one object per line, is expected; this is one object over several lines. Write its samples as an array.`,
    );
  }
}

function isOneObject(line: Uint8Array): boolean {
  try {
    return isObject(parseJson(line, 'line'));
  } catch {
    return false;
  }
}
