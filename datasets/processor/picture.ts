import type { ImageSize, RgbImage } from '../image.ts';
import { FILTERS, type Part, resize } from './resample.ts';

/** What the tower is fed for one image: pictures of one size, one after another. */
export interface Picture {
  /** LLaVA and Qwen2-VL: one picture. SmolVLM: one per tile. */
  readonly count: number;
  readonly height: number;
  readonly width: number;
  /** [count, 3, height, width] */
  readonly data: Float32Array;
}

/** How levels become numbers, as preprocessor configurations name it. */
export interface Levels {
  readonly do_rescale: boolean;
  readonly rescale_factor: number;
  readonly do_normalize: boolean;
  readonly image_mean: readonly number[];
  readonly image_std: readonly number[];
}

/** (level · factor − mean) / std, channel first, each step rounded to float32. All images must have the same size. */
export function normalised(images: readonly RgbImage[], levels: Levels): Picture {
  const { width, height } = images[0]!;
  const area = width * height;
  const data = new Float32Array(images.length * area * 3);
  for (let channel = 0; channel < 3; channel++) {
    const mean = Math.fround(levels.image_mean[channel]!);
    const std = Math.fround(levels.image_std[channel]!);
    const table = new Float32Array(256).map((_, level) => {
      const scaled = levels.do_rescale ? Math.fround(level * levels.rescale_factor) : level;
      return levels.do_normalize ? Math.fround(Math.fround(scaled - mean) / std) : scaled;
    });
    for (const [k, image] of images.entries()) {
      const at = (k * 3 + channel) * area;
      for (let i = 0; i < area; i++) data[at + i] = table[image.data[i * 3 + channel]!]!;
    }
  }
  return { count: images.length, height, width, data };
}

/** Resizes with the filter of Pillow's number. @param part of the result that is wanted; all of it where absent */
export function resized(image: RgbImage, size: ImageSize, resample: number, part?: Part): RgbImage {
  return resize(image, size.width, size.height, FILTERS[resample]!, part);
}

/** Copies a picture into another at (top, left), which may be negative; what does not fit is left out. */
export function copyRows(from: RgbImage, to: RgbImage, top: number, left: number): void {
  const firstColumn = Math.max(0, -left);
  const columns = Math.min(from.width, to.width - left) - firstColumn;
  for (let y = Math.max(0, -top); y < Math.min(from.height, to.height - top); y++) {
    const start = (y * from.width + firstColumn) * 3;
    const row = from.data.subarray(start, start + columns * 3);
    to.data.set(row, ((y + top) * to.width + left + firstColumn) * 3);
  }
}
