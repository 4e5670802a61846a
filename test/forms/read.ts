import { parseJson } from '../../core/json.ts';
import { Keys } from '../../datasets/forms/keys.ts';
import { readSample } from '../../datasets/forms/read-sample.ts';
import type { Manifest } from '../../datasets/manifest.ts';
import { Problems } from '../../datasets/problems.ts';
import type { ReadSample } from '../../datasets/readers/reader.ts';

/** A manifest that lists two pictures. */
const manifestOf = (about: Partial<Manifest>): Manifest =>
  ({
    files: ['1.png', '2.png', 'train.jsonl'].map((path) => ({ path })),
    splits: { train: { samples: 'train.jsonl' } },
    ...about,
  }) as Manifest;

class Told extends Problems {
  readonly told: string[] = [];

  override add(where: string, what: string): void {
    this.told.push(`${where}: ${what}`);
  }
}

/**
 * Reads one sample as it stands in JSON (a text, or a value that is written as one).
 * @param left takes `why key` of everything that was left out
 */
export function readJson(sample: object | string, about: Partial<Manifest> = {}, left: string[] = []): ReadSample {
  const text = typeof sample === 'string' ? sample : JSON.stringify(sample);
  return readValue(parseJson(text, 'sample', { writtenNumbers: true }) as Record<string, unknown>, about, left);
}

/** Reads one sample as a reader of tables gives it. */
export function readValue(
  sample: Record<string, unknown>,
  about: Partial<Manifest> = {},
  left: string[] = [],
  imageColumns: readonly string[] = [],
  isTable?: true,
): ReadSample {
  const problems = new Told();
  const keys = new Keys(problems);
  const read = readSample(
    sample,
    { place: 'train.jsonl:1', where: 'train.jsonl:1', keys, imageColumns, ...(isTable && { isTable }) },
    manifestOf(about),
  );
  keys.tell();
  left.push(...problems.leftOutKeys.map(({ key, why }) => `${why} ${key}`));
  if (problems.told.length > 0) throw new Error(problems.told.join('\n'));
  return read;
}

/** Reads one row of a table. */
export const readTable = (sample: Record<string, unknown>): ReadSample => readValue(sample, {}, [], [], true);

/** What is said of a sample that is refused; empty for one that is read. */
export function refusalOf(sample: object | string, about: Partial<Manifest> = {}): string {
  try {
    readJson(sample, about);
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}
