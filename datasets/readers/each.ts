import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import type { At } from '../forms/form.ts';
import { Keys } from '../forms/keys.ts';
import { isId, isObject, SampleProblem, SharedProblem } from '../forms/values.ts';
import { type Problems, quote } from '../problems.ts';
import type { ReadSample } from './reader.ts';

/** One sample of a file, not yet read, and its place. */
export interface Entry {
  readonly value: unknown;
  readonly place: string;
}

/**
 * Reads entry by entry; what is wrong with one is noted with its place, and the others go on. Each sample is given as it is
 * read, so a file of any size passes through; keys that nothing read are told at the end. Whatever a reader throws at an entry is a problem of that entry.
 */
export async function* readEach(
  entries: Iterable<Entry> | AsyncIterable<Entry>,
  problems: Problems,
  read: (value: Record<string, unknown>, at: At) => ReadSample,
): AsyncGenerator<ReadSample> {
  const keys = new Keys(problems);
  let samples = 0;
  const limit = DEFAULTS['dataset.maxSamples'].value;
  for await (const { value, place } of entries) {
    const where = isObject(value) && isId(value['id']) ? `${place} (id ${quote(String(value['id']))})` : place;
    if (samples >= limit) throw bad(`${where}: more than ${limit} samples. Split the dataset.`);
    const sample = readOne(value, { place, where, keys }, problems, read);
    if (sample === null) continue;
    samples++;
    yield sample;
  }
  keys.tell();
}

function readOne(
  value: unknown,
  at: At & { readonly keys: Keys },
  problems: Problems,
  read: Parameters<typeof readEach>[2],
): ReadSample | null {
  try {
    if (!isObject(value)) throw new SampleProblem('a sample must be an object');
    return { ...read(value, at), place: at.place };
  } catch (error) {
    const { where, keys } = at;
    problems.keepSample(where, value);
    if (error instanceof SharedProblem) keys.refuse(error.message, where);
    else if (error instanceof SampleProblem) problems.add(where, error.message);
    else problems.addError(error, where);
    return null;
  }
}

export function bad(message: string, cause?: unknown): LiloraError {
  return new LiloraError('BadDataset', message, { cause });
}

/** The first line of what an error says. */
export function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!.slice(0, 200);
}
