/**
 * One training or test sample in the only form that learning knows, whatever reader it came from.
 * A conversation of several assistant turns is one sample: every assistant turn carries loss unless it says otherwise.
 */
export interface Sample {
  /** Unique within its dataset, over all splits. */
  readonly id: string;
  readonly turns: readonly Turn[];
  /** SHA-256 of the encoded image files, in the order of the `<image>` markers. Empty for text-only samples. */
  readonly images: readonly string[];
  /** Accepted answers for scoring; the last assistant turn unless the dataset names several. */
  readonly references: readonly string[];
  /** JSON schemas of tools, given to the model's template as `tools`. */
  readonly tools?: readonly object[];
  /** Its texts may use the model's own special tokens, except those that would break the conversation's structure. */
  readonly specialTokens?: true;
}

/** One turn. The text of a user turn holds one `<image>` marker for each of its images. */
export interface Turn {
  /** `tool` is the result of a tool call. */
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly text: string;
  /** False for an answer that is context only: nothing is learned from it. Absent: every assistant turn carries loss. */
  readonly loss?: false;
  /** What the assistant thought before its text; learned as the model's template writes it. Only of assistant turns. */
  readonly reasoning?: string;
  /** Tools that the assistant calls after its text. Only of assistant turns. */
  readonly toolCalls?: readonly ToolCall[];
  /** Name of the tool that answers. Only of tool turns. */
  readonly name?: string;
  /** `id` of the call that is answered. Only of tool turns. */
  readonly toolCallId?: string;
}

/** A call of a tool, as templates read it. */
export interface ToolCall {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly id?: string;
}

/** The place of an image in a user turn. */
export const IMAGE_MARKER = '<image>';

/**
 * Stands in a turn's text or in a reference for the word `<image>` where it marks no image. Its ends are noncharacters of
 * Unicode, which no text is meant to hold.
 */
export const LITERAL_IMAGE = '\ufdd0image\ufdd1';

/** A text as people wrote it, `<image>` for each `LITERAL_IMAGE`. */
export const literal = (text: string): string => text.replaceAll(LITERAL_IMAGE, IMAGE_MARKER);

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
