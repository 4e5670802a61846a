import type { Turn } from '../../core/sample.ts';
import type { Problems } from '../problems.ts';

/** A sample as a reader gives it: checked in itself, its images still paths. */
export interface ReadSample {
  readonly id: string;
  /** File, line or index, and id: how messages name this sample. */
  readonly where: string;
  readonly turns: readonly Turn[];
  /** Paths relative to dataset.json, one per `<image>` marker, in the order of the markers. */
  readonly images: readonly string[];
  readonly references: readonly string[];
}

/** Turns one samples file into samples. */
export interface Reader {
  /** What `format` in dataset.json calls it. */
  readonly name: string;
  /**
   * Reads a whole file. What is wrong with single samples goes to `problems`, and these samples are left out; a file
   * that cannot be read at all is thrown as `BadDataset`.
   */
  read(bytes: Uint8Array, file: string, problems: Problems): ReadSample[];
}
