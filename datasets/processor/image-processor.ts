import { z } from 'zod';
import { LiloraError } from '../../core/errors.ts';
import type { RgbImage } from '../image.ts';
import { FILTERS, resize } from './resample.ts';

const size = z.int().min(1).max(16384);
const perChannel = z.array(z.number()).length(3);
const edges = z.union([
  z.object({ shortest_edge: size }),
  z.object({ height: size, width: size }),
  size.transform((shortest_edge) => ({ shortest_edge })),
]);
const cropSize = z.union([
  z.object({ height: size, width: size }),
  size.transform((side) => ({ height: side, width: side })),
]);

/** The fields of a CLIP or LLaVA image processor; defaults are those of transformers. */
const schema = z.object({
  image_processor_type: z.string().optional(),
  feature_extractor_type: z.string().optional(),
  do_pad: z.boolean().nullish(),
  do_resize: z.boolean().default(true),
  size: edges.default({ shortest_edge: 224 }),
  resample: z.int().default(3),
  do_center_crop: z.boolean().default(true),
  crop_size: cropSize.default({ height: 224, width: 224 }),
  do_rescale: z.boolean().default(true),
  rescale_factor: z
    .number()
    .positive()
    .default(1 / 255),
  do_normalize: z.boolean().default(true),
  image_mean: perChannel.default([0.48145466, 0.4578275, 0.40821073]),
  image_std: perChannel.default([0.26862954, 0.26130258, 0.27577711]),
});

/** The settings of a CLIP or LLaVA image processor, checked. */
export type ImageSettings = z.infer<typeof schema>;

const FAMILIES = /^(CLIP|Llava)(ImageProcessor|FeatureExtractor)(Fast|Pil)?$/;

/** Checks the image settings of a model folder. `file` is only used in messages. */
export function parseImageSettings(value: unknown, file: string): ImageSettings {
  const result = schema.safeParse(value);
  if (!result.success) {
    const { path, message } = result.error.issues[0]!;
    throw new LiloraError('BadModel', `${file}: ${path.join('.') || 'image processor'}: ${message}. Correct the file.`);
  }
  const settings = result.data;
  const family = settings.image_processor_type ?? settings.feature_extractor_type ?? 'CLIPImageProcessor';
  if (!FAMILIES.test(family)) {
    throw new LiloraError('BadModel', `${file}: no support for ${family}; CLIP and LLaVA image processors are read.`);
  }
  if (settings.do_pad && !family.startsWith('Llava')) {
    throw new LiloraError(
      'BadModel',
      `${file}: do_pad belongs to LlavaImageProcessor, not to ${family}. Correct the file.`,
    );
  }
  if (settings.do_resize && !FILTERS[settings.resample]) {
    const known = Object.entries(FILTERS).map(([number, { name }]) => `${number} (${name})`);
    throw new LiloraError(
      'BadModel',
      `${file}: no support for resample ${settings.resample}; use ${known.join(', ')}.`,
    );
  }
  if (settings.image_std.includes(0))
    throw new LiloraError('BadModel', `${file}: image_std holds 0. Correct the file.`);
  return settings;
}

/** Height and width of what the tower sees, known only when the settings fix them. */
export function outputSize(settings: ImageSettings): { height: number; width: number } | null {
  if (settings.do_center_crop) return settings.crop_size;
  if (!settings.do_resize) return null;
  if ('height' in settings.size) return settings.size;
  return settings.do_pad ? { height: settings.size.shortest_edge, width: settings.size.shortest_edge } : null;
}

/**
 * A decoded picture as the vision tower wants it, [3, height, width]: pad to a square, resize (8-bit integers), centre
 * crop, rescale, normalise, in this order, as transformers' PIL back end does it, with its float32 roundings.
 */
export function toPixels(
  image: RgbImage,
  settings: ImageSettings,
): { height: number; width: number; data: Float32Array } {
  let picture = settings.do_pad ? padToSquare(image, settings.image_mean) : image;
  if (settings.do_resize) {
    const { width, height } = targetSize(picture, settings);
    picture = resize(picture, width, height, FILTERS[settings.resample]!);
  }
  if (settings.do_center_crop) picture = centerCrop(picture, settings.crop_size);
  return { height: picture.height, width: picture.width, data: normalise(picture, settings) };
}

function targetSize(image: RgbImage, { size }: ImageSettings): { width: number; height: number } {
  if ('height' in size) return size;
  const short = Math.min(image.width, image.height);
  const long = Math.trunc((size.shortest_edge * Math.max(image.width, image.height)) / short);
  return image.width <= image.height
    ? { width: size.shortest_edge, height: long }
    : { width: long, height: size.shortest_edge };
}

/** The background is the mean colour, truncated to 8 bits; the picture stands in the middle, rounded down. */
function padToSquare(image: RgbImage, mean: readonly number[]): RgbImage {
  const side = Math.max(image.width, image.height);
  if (image.width === image.height) return image;
  const background = mean.map((value) => Math.trunc(value * 255));
  const data = new Uint8Array(side * side * 3);
  for (let i = 0; i < data.length; i++) data[i] = background[i % 3]!;
  const top = Math.floor((side - image.height) / 2);
  const left = Math.floor((side - image.width) / 2);
  copyRows(image, { width: side, height: side, data }, top, left);
  return { width: side, height: side, data };
}

/** Crops around the middle, rounded down; what lies outside the picture is black. */
function centerCrop(image: RgbImage, { width, height }: { width: number; height: number }): RgbImage {
  const crop = { width, height, data: new Uint8Array(width * height * 3) };
  const inside = image.height >= height && image.width >= width;
  // When the picture is smaller in any direction, transformers first pads it, with the odd pixel before the picture.
  const top = inside ? -Math.floor((image.height - height) / 2) : cropShift(image.height, height);
  const left = inside ? -Math.floor((image.width - width) / 2) : cropShift(image.width, width);
  copyRows(image, crop, top, left);
  return crop;
}

function cropShift(length: number, wanted: number): number {
  const padded = Math.max(wanted, length);
  const before = Math.ceil((padded - length) / 2);
  const start = Math.max(0, Math.floor((length - wanted) / 2) + before);
  return before - start;
}

/** Copies a picture into another at (top, left), which may be negative. */
function copyRows(from: RgbImage, to: RgbImage, top: number, left: number): void {
  const firstColumn = Math.max(0, -left);
  const columns = Math.min(from.width, to.width - left) - firstColumn;
  for (let y = Math.max(0, -top); y < Math.min(from.height, to.height - top); y++) {
    const start = (y * from.width + firstColumn) * 3;
    const row = from.data.subarray(start, start + columns * 3);
    to.data.set(row, ((y + top) * to.width + left + firstColumn) * 3);
  }
}

/** (pixel · factor − mean) / std, channel first, each step rounded to float32. */
function normalise(image: RgbImage, settings: ImageSettings): Float32Array {
  const area = image.width * image.height;
  const data = new Float32Array(area * 3);
  for (let channel = 0; channel < 3; channel++) {
    const mean = Math.fround(settings.image_mean[channel]!);
    const std = Math.fround(settings.image_std[channel]!);
    const table = new Float32Array(256).map((_, level) => {
      const scaled = settings.do_rescale ? Math.fround(level * settings.rescale_factor) : level;
      return settings.do_normalize ? Math.fround(Math.fround(scaled - mean) / std) : scaled;
    });
    for (let i = 0; i < area; i++) data[channel * area + i] = table[image.data[i * 3 + channel]!]!;
  }
  return data;
}
