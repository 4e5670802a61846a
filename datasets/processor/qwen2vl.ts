import { z } from 'zod';
import { LiloraError } from '../../core/errors.ts';
import type { ImageSize, RgbImage } from '../image.ts';
import type { FamilyFiles, ImageFamily } from './family.ts';
import { normalised, type Picture, resized } from './picture.ts';
import { CLIP_MEAN, CLIP_STD, check, commonSettings, parseSettings, perChannel } from './settings.ts';

const pixels = z
  .int()
  .positive()
  .max(2 ** 31);

const schema = z
  .object({
    ...commonSettings,
    size: z.object({ shortest_edge: pixels.optional(), longest_edge: pixels.optional() }).nullish(),
    min_pixels: pixels.nullish(),
    max_pixels: pixels.nullish(),
    patch_size: z.int().positive().default(14),
    temporal_patch_size: z.int().positive().default(2),
    merge_size: z.int().positive().default(2),
    resample: z.int().default(3),
    image_mean: perChannel.default(CLIP_MEAN),
    image_std: perChannel.default(CLIP_STD),
  })
  // `size` counts pixels, too: older files call its edges min_pixels and max_pixels, which win where both are there.
  .transform(({ size, min_pixels, max_pixels, ...rest }) => ({
    ...rest,
    least: min_pixels ?? (size ? size.shortest_edge : 56 * 56),
    most: max_pixels ?? (size ? size.longest_edge : 28 * 28 * 1280),
  }))
  .refine(({ least, most }) => least !== undefined && most !== undefined && least <= most, {
    path: ['size'],
    message: 'needs shortest_edge and longest_edge, numbers of pixels, the first not above the second',
  })
  .transform(({ least, most, ...rest }) => ({ ...rest, least: least!, most: most! }));

/** The settings of a Qwen2-VL image processor, checked. `least` and `most` pixels bound the area of a picture. */
export type Qwen2vlSettings = z.infer<typeof schema>;

/** Checks the image settings of a Qwen2-VL folder. `file` is only used in messages. */
export function parseQwen2vlSettings(value: unknown, file: string): Qwen2vlSettings {
  return parseSettings(schema, value, file, ['Qwen2VLImageProcessor'], 'Qwen2VLImageProcessor');
}

const configSchema = z.looseObject({
  vision_start_token_id: z.int().default(151652),
  vision_end_token_id: z.int().default(151653),
  vision_config: z
    .looseObject({
      patch_size: z.union([z.int(), z.array(z.int()).min(1)]).default(14),
      spatial_merge_size: z.int().default(2),
      temporal_patch_size: z.int().default(2),
    })
    .prefault({}),
});

/** Qwen2-VL: a picture keeps its shape; the larger it is, the more image tokens it becomes. */
export function qwen2vlImages({ config, settings, imageText, textOf }: FamilyFiles): ImageFamily {
  const { vision_config: vision, ...tokens } = check(configSchema, config);
  const read = parseQwen2vlSettings(settings.value, settings.file);
  const wanted = {
    patch_size: [vision.patch_size].flat()[0],
    merge_size: vision.spatial_merge_size,
    temporal_patch_size: vision.temporal_patch_size,
  };
  for (const [name, size] of Object.entries(wanted))
    if (read[name as keyof typeof wanted] !== size) {
      const problem = `${name} ${read[name as keyof typeof wanted]} is not the tower's, ${size}`;
      throw new LiloraError('BadModel', `${settings.file}: ${problem}. Correct the files.`);
    }
  const square = read.patch_size * read.merge_size;
  return {
    marker: imageText,
    raw: `${textOf(tokens.vision_start_token_id) ?? ''}${imageText}${textOf(tokens.vision_end_token_id) ?? ''}`,
    defaultContext: 32768,
    expand: (size) => {
      const { width, height } = targetSize(size, read);
      const grid = [height / square, width / square] as const;
      return { text: imageText, tokens: grid[0] * grid[1], grid };
    },
    pixels: (image) => toPicture(image, read),
  };
}

/** A decoded picture as the vision tower wants it, as transformers' PIL back end makes it, before it is cut into patches. */
export function toPicture(image: RgbImage, settings: Qwen2vlSettings): Picture {
  return normalised([resized(image, targetSize(image, settings), settings.resample)], settings);
}

/** Both sides as multiples of a merged patch, the area within bounds, the shape kept as nearly as possible. */
function targetSize({ width, height }: ImageSize, settings: Qwen2vlSettings): ImageSize {
  const { least, most } = settings;
  const square = settings.patch_size * settings.merge_size;
  const shape = `A picture of ${width} × ${height} pixels`;
  if (!settings.do_resize) {
    if (width % square === 0 && height % square === 0) return { width, height };
    const problem = `${shape} is no whole number of squares of ${square} pixels, and the model's files forbid resizing`;
    throw new LiloraError('BadDataset', `${problem}. Resize it.`);
  }
  if (Math.max(width, height) / Math.min(width, height) > 200)
    throw new LiloraError('BadDataset', `${shape} is over 200 times longer than wide. Crop it.`);
  const sides = (length: (side: number) => number) => ({
    width: length(width) * square,
    height: length(height) * square,
  });
  const plain = sides((side) => roundHalfEven(side / square));
  if (plain.width * plain.height > most) {
    const shrink = Math.sqrt((height * width) / most);
    return sides((side) => Math.max(1, Math.floor(side / shrink / square)));
  }
  if (plain.width * plain.height < least) {
    const grow = Math.sqrt(least / (height * width));
    return sides((side) => Math.ceil((side * grow) / square));
  }
  return plain;
}

/** As Python's `round`. */
function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  if (x - down !== 0.5) return Math.round(x);
  return down % 2 === 0 ? down : down + 1;
}
