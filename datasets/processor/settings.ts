import { z } from 'zod';
import { LiloraError } from '../../core/errors.ts';
import { FILTERS } from './resample.ts';

export const edge = z.int().min(1).max(16384);
export const perChannel = z.array(z.number()).length(3);

/** Fields that the image processors of all families have, with transformers' defaults. */
export const commonSettings = {
  image_processor_type: z.string().optional(),
  feature_extractor_type: z.string().optional(),
  do_resize: z.boolean().default(true),
  do_rescale: z.boolean().default(true),
  rescale_factor: z
    .number()
    .positive()
    .default(1 / 255),
  do_normalize: z.boolean().default(true),
};

/** The mean and deviation of the pictures that CLIP was trained on. */
export const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073];
export const CLIP_STD = [0.26862954, 0.26130258, 0.27577711];

interface Common {
  readonly image_processor_type?: string | undefined;
  readonly feature_extractor_type?: string | undefined;
  readonly resample: number;
  readonly image_std: readonly number[];
}

/**
 * Checks the image settings of a model folder; `BadModel` names what is wrong or not supported.
 * @param types names of image processors that are read, without the ending of their back end
 * @param fallback the type where the file names none
 * @param file only used in messages
 */
export function parseSettings<S extends z.ZodType<Common>>(
  schema: S,
  value: unknown,
  file: string,
  types: readonly string[],
  fallback: string,
): z.output<S> & { readonly type: string } {
  const bad = (problem: string) => new LiloraError('BadModel', `${file}: ${problem}`);
  const result = schema.safeParse(value);
  if (!result.success) {
    const { path, message } = result.error.issues[0]!;
    throw bad(`${path.join('.') || 'image processor'}: ${message}. Correct the file.`);
  }
  const settings = result.data;
  const type = settings.image_processor_type ?? settings.feature_extractor_type ?? fallback;
  const base = type.replace(/(Fast|Pil)$/, '').replace(/FeatureExtractor$/, 'ImageProcessor');
  if (!types.includes(base)) throw bad(`no support for ${type}; this model family has ${types.join(', ')}.`);
  if (!FILTERS[settings.resample]) {
    const known = Object.entries(FILTERS).map(([number, { name }]) => `${number} (${name})`);
    throw bad(`no support for resample ${settings.resample}; use ${known.join(', ')}.`);
  }
  if (settings.image_std.includes(0)) throw bad('image_std holds 0. Correct the file.');
  return { ...settings, type: base };
}

/** The value with its defaults, or `BadModel`. */
export function check<S extends z.ZodType>(schema: S, value: unknown, file = 'config.json'): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new LiloraError('BadModel', `${file}: ${z.prettifyError(result.error)}`);
}
