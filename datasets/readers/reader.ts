import type { Sample, Turn } from '../../core/sample.ts';
import type { Manifest } from '../manifest.ts';
import type { Problems } from '../problems.ts';

/** An image that stands within a samples file. */
export interface EmbeddedImage {
  /** Encoded, as it came. */
  readonly bytes: Uint8Array;
  /** Where it stands: how messages name it. */
  readonly name: string;
}

/** A path relative to dataset.json, or the image itself. */
export type ReadImage = string | EmbeddedImage;

/** A sample as a reader gives it: checked in itself, its images not yet read. */
export interface ReadSample extends Pick<Sample, 'tools' | 'specialTokens'> {
  readonly id: string;
  /** File, line or index, and id: how messages name this sample. */
  readonly where: string;
  /** The same without the id; `readEach` sees to it. */
  readonly place?: string;
  readonly turns: readonly Turn[];
  /** One per `<image>` marker, in the order of the markers. */
  readonly images: readonly ReadImage[];
  readonly references: readonly string[];
}

/** What a reader is given: a file whose digest was checked, read by ranges, so that its size does not matter. */
export interface SamplesFile {
  /** Path of the file, or of a folder of images. */
  readonly path: string;
  /** In bytes; 0 for a folder. */
  readonly size: number;
  /** The bytes from `start` on, before `end`; both must lie within the file. */
  slice(start: number, end: number): Promise<Uint8Array>;
  /** All of its bytes, for small ones: over `dataset.maxWholeBytes` it is `BadDataset`. */
  bytes(): Promise<Uint8Array>;
  readonly manifest: Manifest;
}

/** Turns one samples file into samples. */
export interface Reader {
  /** What `format` in dataset.json calls it. */
  readonly name: string;
  /** Whether a file without `format` is of this one without doubt. */
  recognizes(file: SamplesFile): boolean | Promise<boolean>;
  /**
   * Reads a whole file, sample by sample: one is let go before the next comes. What is wrong with single samples goes to
   * `problems`, and these samples are left out; a file that cannot be read at all is thrown as `BadDataset`.
   */
  read(file: SamplesFile, problems: Problems): Samples | Promise<Samples>;
}

/** Samples of a file, one after another. A list is one. */
export type Samples = Iterable<ReadSample> | AsyncIterable<ReadSample>;
