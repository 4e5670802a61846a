import { z } from 'zod';
import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import type { ImageSize, RgbImage } from '../image.ts';
import type { FamilyFiles, ImageFamily } from './family.ts';
import { copyRows, normalised, type Picture, resized } from './picture.ts';
import type { Part } from './resample.ts';
import { CLIP_MEAN, CLIP_STD, check, commonSettings, edge, parseSettings, perChannel } from './settings.ts';

const edges = z.union([
  z.object({ shortest_edge: edge }),
  z.object({ height: edge, width: edge }),
  edge.transform((shortest_edge) => ({ shortest_edge })),
]);
const cropSize = z.union([
  z.object({ height: edge, width: edge }),
  edge.transform((side) => ({ height: side, width: side })),
]);

const schema = z.object({
  ...commonSettings,
  do_pad: z.boolean().nullish(),
  size: edges.default({ shortest_edge: 224 }),
  resample: z.int().default(3),
  do_center_crop: z.boolean().default(true),
  crop_size: cropSize.default({ height: 224, width: 224 }),
  image_mean: perChannel.default(CLIP_MEAN),
  image_std: perChannel.default(CLIP_STD),
});

/** The settings of a CLIP or LLaVA image processor, checked. */
export type LlavaSettings = z.infer<typeof schema>;

/** Checks the image settings of a LLaVA folder. `file` is only used in messages. */
export function parseLlavaSettings(value: unknown, file: string): LlavaSettings {
  const types = ['CLIPImageProcessor', 'LlavaImageProcessor'];
  const settings = parseSettings(schema, value, file, types, 'CLIPImageProcessor');
  if (settings.do_pad && settings.type !== 'LlavaImageProcessor') {
    throw new LiloraError(
      'BadModel',
      `${file}: do_pad belongs to LlavaImageProcessor, not to ${settings.type}. Correct the file.`,
    );
  }
  return settings;
}

const configSchema = z.looseObject({
  vision_feature_select_strategy: z.enum(['default', 'full']).default('default'),
  vision_config: z
    .looseObject({ image_size: z.int().positive().default(224), patch_size: z.int().positive().default(32) })
    .default({ image_size: 336, patch_size: 14 }),
});

/** LLaVA: one picture of fixed size per image, as many image tokens as the tower gives features. */
export function llavaImages({ config, settings, imageText }: FamilyFiles): ImageFamily {
  const { vision_config: vision, vision_feature_select_strategy: strategy } = check(configSchema, config);
  const tokens = Math.floor(vision.image_size / vision.patch_size) ** 2 + (strategy === 'full' ? 1 : 0);
  const read = parseLlavaSettings(settings.value, settings.file);
  const fixed = outputSize(read);
  if (fixed?.height !== vision.image_size || fixed.width !== vision.image_size) {
    const gives = fixed ? `pictures of ${fixed.height} × ${fixed.width}` : 'pictures of no fixed size';
    throw new LiloraError(
      'BadModel',
      `${settings.file}: ${gives}; the tower takes ${vision.image_size}. Set crop_size.`,
    );
  }
  const expansion = { text: imageText, tokens };
  return {
    marker: imageText,
    defaultContext: 2048,
    expand: (size) => {
      checkSquare(size, read);
      return expansion;
    },
    pixels: (image) => {
      checkSquare(image, read);
      return toPixels(image, read);
    },
  };
}

/** Height and width of what the tower sees, known only when the settings fix them. */
function outputSize(settings: LlavaSettings): ImageSize | null {
  if (settings.do_center_crop) return settings.crop_size;
  if (!settings.do_resize) return null;
  if ('height' in settings.size) return settings.size;
  return settings.do_pad ? { height: settings.size.shortest_edge, width: settings.size.shortest_edge } : null;
}

/**
 * A decoded picture as the vision tower wants it: pad to a square, resize (8-bit integers), centre crop, rescale,
 * normalise, in this order, as transformers' PIL back end does it, with its float32 roundings.
 */
export function toPixels(image: RgbImage, settings: LlavaSettings): Picture {
  let picture = settings.do_pad ? padToSquare(image, settings.image_mean) : image;
  const { crop_size: crop, resample } = settings;
  const whole = settings.do_resize ? targetSize(picture, settings) : picture;
  const at = settings.do_center_crop ? cropPlace(whole, crop) : null;
  // Of a thin picture, enlarged, the crop is a small part: nothing else of it is computed.
  const part = at && seen(whole, at, crop);
  if (settings.do_resize) picture = resized(picture, whole, resample, part ?? undefined);
  if (at) {
    const cropped = { ...crop, data: new Uint8Array(crop.width * crop.height * 3) };
    const moved = settings.do_resize && part ? { top: at.top + part.top, left: at.left + part.left } : at;
    copyRows(picture, cropped, moved.top, moved.left);
    picture = cropped;
  }
  return normalised([picture], settings);
}

function targetSize(image: RgbImage, { size }: LlavaSettings): ImageSize {
  if ('height' in size) return size;
  const short = Math.min(image.width, image.height);
  const long = Math.trunc((size.shortest_edge * Math.max(image.width, image.height)) / short);
  return image.width <= image.height
    ? { width: size.shortest_edge, height: long }
    : { width: long, height: size.shortest_edge };
}

/** Refuses a picture whose square would fill the memory. */
function checkSquare({ width, height }: ImageSize, settings: LlavaSettings): void {
  const most = DEFAULTS['dataset.maxPaddedPixels'].value;
  if (!settings.do_pad || Math.max(width, height) ** 2 <= most) return;
  const problem = `A picture of ${width} × ${height} pixels, which this model pads to a square, would have over ${most}`;
  throw new LiloraError('BadDataset', `${problem}. Crop it or make it smaller.`);
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

interface Place {
  readonly top: number;
  readonly left: number;
}

/** Where a picture stands in its crop around the middle, rounded down; what lies outside the picture is black. */
function cropPlace(image: ImageSize, { width, height }: ImageSize): Place {
  const inside = image.height >= height && image.width >= width;
  // When the picture is smaller in any direction, transformers first pads it, with the odd pixel before the picture.
  if (!inside) return { top: cropShift(image.height, height), left: cropShift(image.width, width) };
  return { top: -Math.floor((image.height - height) / 2), left: -Math.floor((image.width - width) / 2) };
}

/** The part of a picture that its crop shows. */
function seen(image: ImageSize, { top, left }: Place, crop: ImageSize): Part {
  const [firstRow, firstColumn] = [Math.max(0, -top), Math.max(0, -left)];
  return {
    top: firstRow,
    left: firstColumn,
    height: Math.min(image.height, crop.height - top) - firstRow,
    width: Math.min(image.width, crop.width - left) - firstColumn,
  };
}

function cropShift(length: number, wanted: number): number {
  const padded = Math.max(wanted, length);
  const before = Math.ceil((padded - length) / 2);
  const start = Math.max(0, Math.floor((length - wanted) / 2) + before);
  return before - start;
}
