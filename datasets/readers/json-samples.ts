import { DEFAULTS } from '../../core/defaults.ts';
import { decodeUtf8, parseJson } from '../../core/json.ts';
import { refuseByteOrderMark } from '../manifest.ts';
import type { Problems } from '../problems.ts';
import { isObject } from './conversation.ts';
import { bad, type Entry, readEach } from './each.ts';
import type { Reader, ReadSample, SamplesFile } from './reader.ts';

/** One way to write a sample as an object, in JSON or in the rows of a table. */
export interface SampleFormat {
  readonly name: string;
  /** Whether an object is of this format without doubt. */
  fits(sample: Record<string, unknown>): boolean;
  /**
   * Throws `SampleProblem` for one that breaks a rule.
   * @param at `place`: file and line or index; `where`: the same with the id
   */
  read(
    sample: Record<string, unknown>,
    at: { readonly place: string; readonly where: string },
    manifest: SamplesFile['manifest'],
  ): ReadSample;
}

/** Reads a JSON array (`.json`) or one object per line (`.jsonl`). */
export function jsonReader(format: SampleFormat): Reader {
  return {
    name: format.name,
    recognizes({ path, bytes }) {
      if (!/\.jsonl?$/i.test(path)) return false;
      const first = firstOf(bytes, path);
      return first !== null && format.fits(first);
    },
    read({ path, bytes, manifest }, problems) {
      refuseByteOrderMark(bytes, path);
      const entries = /\.jsonl$/i.test(path) ? jsonLines(bytes, path, problems) : items(bytes, path);
      return readEach(entries, problems, (sample, at) => format.read(sample, at, manifest));
    },
  };
}

/** Enough for the first sample of an array, even with an image in it. */
const PEEK = 16 * 2 ** 20;

/** The first sample of a file, without reading the whole of a large one; null when there is none that can be read. */
function firstOf(bytes: Uint8Array, path: string): Record<string, unknown> | null {
  try {
    const text = new TextDecoder().decode(bytes.subarray(0, PEEK));
    const lines = /\.jsonl$/i.test(path);
    const start = lines ? text.trimStart() : text.trimStart().slice(1);
    const line = lines ? wholeLine(bytes) : objectAtStart(start);
    const value = line === null ? null : parseJson(line, path);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function wholeLine(bytes: Uint8Array): string | null {
  let start = 0;
  while (start < bytes.length) {
    const end = bytes.indexOf(10, start);
    const line = new TextDecoder().decode(bytes.subarray(start, end < 0 ? bytes.length : end));
    if (line.trim() !== '') return line;
    if (end < 0) return null;
    start = end + 1;
  }
  return null;
}

/** The text of the object with which a text begins. */
function objectAtStart(text: string): string | null {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (quoted) {
      if (character === '\\') i++;
      else if (character === '"') quoted = false;
    } else if (character === '"') quoted = true;
    else if (character === '{') depth++;
    else if (character === '}' && --depth === 0) return text.slice(0, i + 1);
  }
  return null;
}

function* items(bytes: Uint8Array, file: string): Generator<Entry> {
  if (!/\.json$/i.test(file)) throw bad(`${file}: the name must end in .json or .jsonl. Rename the file.`);
  const value = parseJson(bytes, file, { errorName: 'BadDataset', maxBytes: DEFAULTS['dataset.maxFileBytes'].value });
  if (!Array.isArray(value)) throw bad(`${file}: a JSON array of samples is expected; one object per line is .jsonl.`);
  for (const [i, item] of value.entries()) yield { value: item, place: `${file}[${i}]` };
}

/** One object per line; lines that are no JSON go to `problems`. */
export function* jsonLines(bytes: Uint8Array, file: string, problems: Problems): Generator<Entry> {
  const text = decodeUtf8(bytes, file, 'BadDataset').split('\n');
  for (const [i, line] of text.entries()) {
    if (line.trim() === '') continue;
    let value: unknown;
    try {
      // The parser counts lines within what it is given, so the line of the file is told by the name.
      value = parseJson(line, `${file}:${i + 1}`, { errorName: 'BadDataset' });
    } catch (error) {
      problems.addError(error);
      continue;
    }
    yield { value, place: `${file}:${i + 1}` };
  }
}
