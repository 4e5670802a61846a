import type { ReadSample } from '../readers/reader.ts';
import type { Fields } from './fields.ts';
import type { Keys } from './keys.ts';

/** Where a sample stands, and what its file says of it. */
export interface At {
  /** File and line, row or index. */
  readonly place: string;
  /** The same with the id: how messages name the sample. */
  readonly where: string;
  /** Columns that the file itself declares to be pictures. */
  readonly imageColumns?: readonly string[];
  /** A row of a table, where every object has the keys of all of them: nulls there are no values. */
  readonly isTable?: true;
  /** Takes the keys that were not read; without it such a key is an error of the sample. */
  readonly keys?: Keys;
}

/** One way to write a sample as an object, in JSON or in the rows of a table. */
export interface Form {
  /** What `format` in dataset.json calls it. */
  readonly name: string;
  /** Whether an object is of this form without doubt. */
  fits(sample: Fields): boolean;
  /** What an object that does not fit would need to be of this form, in a few words. */
  readonly needs: string;
  /** Throws `SampleProblem` for one that breaks a rule. */
  read(sample: Fields, at: At): Omit<ReadSample, 'where'>;
}
