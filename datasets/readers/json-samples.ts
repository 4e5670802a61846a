import { refuseByteOrderMark } from '../manifest.ts';
import { Problems } from '../problems.ts';
import { isObject } from './conversation.ts';
import { bad, type Entry, readEach } from './each.ts';
import { jsonItems, jsonLines } from './json-text.ts';
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
    async recognizes(file) {
      if (!/\.jsonl?$/i.test(file.path)) return false;
      const first = await firstOf(file);
      return first !== null && format.fits(first);
    },
    async *read(file, problems) {
      const { path, manifest } = file;
      refuseByteOrderMark(await file.slice(0, Math.min(4, file.size)), path);
      yield* readEach(entriesOf(file, problems), problems, (sample, at) => format.read(sample, at, manifest));
    },
  };
}

function entriesOf(file: SamplesFile, problems: Problems): AsyncIterable<Entry> {
  if (/\.jsonl$/i.test(file.path)) return jsonLines(file, problems);
  if (/\.json$/i.test(file.path)) return jsonItems(file);
  throw bad(`${file.path}: the name must end in .json or .jsonl. Rename the file.`);
}

/** The first sample of a file, without reading the rest; null when there is none that can be read. */
async function firstOf(file: SamplesFile): Promise<Record<string, unknown> | null> {
  try {
    for await (const { value } of entriesOf(file, new Problems(1))) return isObject(value) ? value : null;
  } catch {
    // Its reader says what is wrong with it.
  }
  return null;
}
