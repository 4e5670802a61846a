import { z } from 'zod';
import { LiloraError } from '../../core/errors.ts';
import type { ImageSize, RgbImage } from '../image.ts';
import type { FamilyFiles, ImageFamily } from './family.ts';
import { copyRows, normalised, type Picture, resized } from './picture.ts';
import { check, commonSettings, edge, parseSettings, perChannel } from './settings.ts';

const longest = z.union([z.object({ longest_edge: edge }), edge.transform((side) => ({ longest_edge: side }))]);

const schema = z.object({
  ...commonSettings,
  size: z.union([longest, z.object({ height: edge, width: edge })]).default({ longest_edge: 4 * 364 }),
  max_image_size: longest.default({ longest_edge: 364 }),
  resample: z.int().default(1),
  do_image_splitting: z.boolean().default(true),
  image_mean: perChannel.default([0.5, 0.5, 0.5]),
  image_std: perChannel.default([0.5, 0.5, 0.5]),
});

/** The settings of an Idefics3 or SmolVLM image processor, checked. */
export type SmolvlmSettings = z.infer<typeof schema>;

/** Checks the image settings of an Idefics3 or SmolVLM folder. `file` is only used in messages. */
export function parseSmolvlmSettings(value: unknown, file: string): SmolvlmSettings {
  const types = ['Idefics3ImageProcessor', 'SmolVLMImageProcessor'];
  return parseSettings(schema, value, file, types, 'Idefics3ImageProcessor');
}

const configSchema = z.looseObject({
  scale_factor: z.int().positive().default(2),
  vision_config: z
    .looseObject({ patch_size: z.union([z.int().positive(), z.array(z.int().positive()).min(1)]).default(32) })
    .default({ patch_size: 32 }),
});

const processorSchema = z.looseObject({ image_seq_len: z.int().positive().optional() });

/** Idefics3 and SmolVLM: an image is cut into rows and columns of tiles, and the whole follows as one more. */
export function smolvlmImages(files: FamilyFiles): ImageFamily {
  const { scale_factor: factor, vision_config: vision } = check(configSchema, files.config);
  const { image_seq_len } = check(processorSchema, files.processor, 'processor_config.json');
  const settings = parseSmolvlmSettings(files.settings.value, files.settings.file);
  const side = settings.max_image_size.longest_edge;
  const patch = [vision.patch_size].flat()[0]!;
  const tokens = (Math.floor(side / patch) / factor) ** 2;
  if (!Number.isInteger(tokens) || tokens !== (image_seq_len ?? tokens)) {
    const problem = `tiles of ${side} pixels make ${tokens} image tokens, image_seq_len is ${image_seq_len ?? 'absent'}`;
    throw new LiloraError('BadModel', `${files.settings.file}: ${problem}. Correct the files.`);
  }
  const image = files.imageText;
  const fake = files.tokenNamed('fake_image_token') ?? '<fake_token_around_image>';
  const whole = `${fake}${files.tokenNamed('global_image_token') ?? '<global-img>'}${image}${fake}`;
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
  return {
    marker: image,
    defaultContext: 2048,
    pixels: (picture) => toTiles(picture, settings),
    expand: (size) => {
      const { rows, columns } = gridOf(size, settings);
      const row = (r: number) =>
        `${numbers(columns)
          .map((c) => `${fake}<row_${r}_col_${c}>${image}`)
          .join('')}\n`;
      return { text: rows === 0 ? whole : `${numbers(rows).map(row).join('')}\n${whole}`, tokens };
    },
  };
}

/** Larger than this no side of a picture becomes. */
const LARGEST = 4096;

/** The longest side as the settings say, the other one in proportion and even. */
function firstSize({ width, height }: ImageSize, settings: SmolvlmSettings): ImageSize {
  if (!settings.do_resize) return { width, height };
  if ('height' in settings.size) return settings.size;
  const long = settings.size.longest_edge;
  const ratio = width / height;
  const even = (side: number) => Math.max(1, side + (side % 2));
  const wanted =
    width >= height
      ? { width: long, height: even(Math.trunc(long / ratio)) }
      : { width: even(Math.trunc(long * ratio)), height: long };
  const shape = wanted.width / wanted.height;
  if (wanted.width >= wanted.height && wanted.width > LARGEST)
    return { width: LARGEST, height: Math.max(1, Math.trunc(LARGEST / shape)) };
  if (wanted.height > wanted.width && wanted.height > LARGEST)
    return { width: Math.max(1, Math.trunc(LARGEST * shape)), height: LARGEST };
  return wanted;
}

/** Both sides as multiples of a tile's, rounded up, the shorter one from the longer one's. */
function tiledSize({ width, height }: ImageSize, side: number): ImageSize {
  const ratio = width / height;
  const up = (length: number) => Math.ceil(length / side) * side;
  return width >= height
    ? { width: up(width), height: up(Math.trunc(up(width) / ratio)) }
    : { width: up(Math.trunc(up(height) * ratio)), height: up(height) };
}

/** Rows and columns of tiles; 0 and 0 where the image is one tile. */
function gridOf(size: ImageSize, settings: SmolvlmSettings): { rows: number; columns: number } {
  const side = settings.max_image_size.longest_edge;
  if (!settings.do_image_splitting) return { rows: 0, columns: 0 };
  const { width, height } = tiledSize(firstSize(size, settings), side);
  const [rows, columns] = [height / side, width / side];
  return rows > 1 || columns > 1 ? { rows, columns } : { rows: 0, columns: 0 };
}

/** A decoded picture as tiles, row by row, and the whole last, as transformers' PIL back end makes them. */
export function toTiles(image: RgbImage, settings: SmolvlmSettings): Picture {
  const side = settings.max_image_size.longest_edge;
  const { resample } = settings;
  const first = resized(image, firstSize(image, settings), resample);
  const square = { width: side, height: side };
  if (!settings.do_image_splitting) return normalised([resized(first, square, resample)], settings);
  const picture = resized(first, tiledSize(first, side), resample);
  const { rows, columns } = gridOf(image, settings);
  if (rows === 0) return normalised([picture], settings);
  const tiles = Array.from({ length: rows * columns }, (_, i) => {
    const tile = { ...square, data: new Uint8Array(side * side * 3) };
    copyRows(picture, tile, -Math.floor(i / columns) * side, -(i % columns) * side);
    return tile;
  });
  return normalised([...tiles, resized(picture, square, resample)], settings);
}
