/**
 * One training or test sample in the only form that learning knows, whatever reader it came from.
 * A conversation of several assistant turns is one sample: every assistant turn carries loss.
 */
export interface Sample {
  /** Unique within its dataset, over all splits. */
  readonly id: string;
  readonly turns: readonly Turn[];
  /** SHA-256 of the encoded image files, in the order of the `<image>` markers. Empty for text-only samples. */
  readonly images: readonly string[];
  /** Accepted answers for scoring; the last assistant turn unless the dataset names several. */
  readonly references: readonly string[];
}

/** One turn. The text of a user turn holds one `<image>` marker for each of its images. */
export interface Turn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly text: string;
}

/** The place of an image in a user turn. */
export const IMAGE_MARKER = '<image>';

/** A sample as tokens: what the model is fed. */
export interface EncodedSample {
  readonly id: string;
  /** The whole conversation for training; the prompt, ending where the answer begins, for generation. */
  readonly inputIds: Int32Array;
  /** As long as `inputIds`; −100 where no loss is taken. Null for generation. */
  readonly labels: Int32Array | null;
  /** Digests of the images, in order of appearance. */
  readonly images: readonly string[];
  /** Height and width of every image in image tokens, for models that place tokens in space. */
  readonly grids?: ReadonlyArray<readonly [height: number, width: number]>;
  readonly references: readonly string[];
}
