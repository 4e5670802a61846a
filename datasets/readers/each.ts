import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import { type Problems, quote } from '../problems.ts';
import { isId, isObject, SampleProblem } from './conversation.ts';
import type { ReadSample } from './reader.ts';

/** One sample of a file, not yet read, and its place. */
export interface Entry {
  readonly value: unknown;
  readonly place: string;
}

/** Reads entry by entry; what is wrong with one is noted with its place, and the others go on. */
export function readEach(
  entries: Iterable<Entry>,
  problems: Problems,
  read: (value: Record<string, unknown>, entry: { readonly place: string; readonly where: string }) => ReadSample,
): ReadSample[] {
  const samples: ReadSample[] = [];
  const limit = DEFAULTS['dataset.maxSamples'].value;
  for (const { value, place } of entries) {
    const where = isObject(value) && isId(value['id']) ? `${place} (id ${quote(String(value['id']))})` : place;
    if (samples.length >= limit) throw bad(`${where}: more than ${limit} samples. Split the dataset.`);
    try {
      if (!isObject(value)) throw new SampleProblem('a sample must be an object');
      samples.push(read(value, { place, where }));
    } catch (error) {
      if (!(error instanceof SampleProblem)) throw error;
      problems.add(where, error.message);
    }
  }
  return samples;
}

export function bad(message: string, cause?: unknown): LiloraError {
  return new LiloraError('BadDataset', message, { cause });
}

/** The first line of what an error says. */
export function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!.slice(0, 200);
}
