import type { Turn } from '../../core/sample.ts';
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
export interface ReadSample {
  readonly id: string;
  /** File, line or index, and id: how messages name this sample. */
  readonly where: string;
  readonly turns: readonly Turn[];
  /** One per `<image>` marker, in the order of the markers. */
  readonly images: readonly ReadImage[];
  readonly references: readonly string[];
}

/** What a reader is given. */
export interface SamplesFile {
  /** Path of the file, or of a folder of images. */
  readonly path: string;
  /** Its bytes; none for a folder. */
  readonly bytes: Uint8Array;
  readonly manifest: Manifest;
}

/** Turns one samples file into samples. */
export interface Reader {
  /** What `format` in dataset.json calls it. */
  readonly name: string;
  /** Whether a file without `format` is of this one without doubt. */
  recognizes(file: SamplesFile): boolean;
  /**
   * Reads a whole file. What is wrong with single samples goes to `problems`, and these samples are left out; a file
   * that cannot be read at all is thrown as `BadDataset`.
   */
  read(file: SamplesFile, problems: Problems): ReadSample[] | Promise<ReadSample[]>;
}
