import type { ImageSize, RgbImage } from '../image.ts';
import type { Picture } from './picture.ts';

/** What becomes of one image in a prompt. */
export interface Expansion {
  /** Takes the place of the marker, with one image token for every run of them. */
  readonly text: string;
  /** Length of each run. */
  readonly tokens: number;
  /** Height and width in image tokens, for models that place tokens in space. */
  readonly grid?: readonly [height: number, width: number];
}

/** What a model family does with images, between chat template and tower. */
export interface ImageFamily {
  /** What stands for an image in a text: the chat template writes it. */
  readonly marker: string;
  /** The same with what the template writes around it, for prompts without a template; the marker where it writes nothing. */
  readonly raw?: string;
  /** Longest row of tokens where `config.json` does not say. */
  readonly defaultContext: number;
  expand(size: ImageSize): Expansion;
  /** `BadDataset` for a picture that the family does not take. */
  pixels(image: RgbImage): Picture;
}

/** What a family reads of a model folder. */
export interface FamilyFiles {
  /** Parsed `config.json`. */
  readonly config: unknown;
  /** Parsed `processor_config.json`; empty where there is none. */
  readonly processor: unknown;
  /** Settings of the image processor, and the file they come from. */
  readonly settings: { readonly value: unknown; readonly file: string };
  /** The text of the image token. */
  readonly imageText: string;
  /** Text of a special token by the name that `tokenizer_config.json` gives it. */
  tokenNamed(name: string): string | undefined;
  /** Text of a token. */
  textOf(id: number): string | undefined;
}
