import sharp, { type Metadata } from 'sharp';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';

/** Width and height in pixels, upright. */
export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/** A decoded picture: 8-bit RGB, row by row, three bytes per pixel. */
export interface RgbImage extends ImageSize {
  /** [height * width * 3] */
  readonly data: Uint8Array;
}

export interface ImageLimits {
  /** Largest width × height. */
  readonly maxPixels?: number;
  /** Largest encoded size in bytes. */
  readonly maxBytes?: number;
}

/** First bytes of the formats that are read; the decoder never sees anything else. */
const SIGNATURES = [
  { format: 'jpeg', bytes: [0xff, 0xd8, 0xff], at: 0 },
  { format: 'png', bytes: [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], at: 0 },
  { format: 'webp', bytes: [0x57, 0x45, 0x42, 0x50], at: 8 },
] as const;

/**
 * Decodes a JPEG, PNG or WebP picture to RGB as Pillow's `convert("RGB")` does: grey is repeated, alpha is dropped (not
 * blended), colour profiles are ignored. EXIF orientation is applied, as transformers' `load_image` does. Size limits
 * are checked from the header before anything is decoded. Damaged, animated, 16-bit and CMYK pictures are `BadDataset`.
 * `name` is only used in messages.
 */
export async function decodeImage(bytes: Uint8Array, name: string, limits: ImageLimits = {}): Promise<RgbImage> {
  const bad = (what: string, cause?: unknown) => new LiloraError('BadDataset', `${name}: ${what}`, { cause });
  const { maxPixels = DEFAULTS['dataset.maxImagePixels'].value, maxBytes = DEFAULTS['dataset.maxImageBytes'].value } =
    limits;
  if (bytes.byteLength === 0) throw bad('the image file has zero bytes. Copy the image again.');
  if (bytes.byteLength > maxBytes) {
    throw bad(`the image file has ${bytes.byteLength} bytes, over the limit of ${maxBytes}. Make the image smaller.`);
  }
  const problem = formatProblem(bytes);
  if (problem) throw bad(problem);
  const options = { failOn: 'error', limitInputPixels: maxPixels, ignoreIcc: true, sequentialRead: true } as const;
  let header: Metadata;
  try {
    header = await sharp(bytes, { ...options, limitInputPixels: false }).metadata();
  } catch (error) {
    throw bad(`the image header is damaged (${reason(error)}). Copy the image again.`, error);
  }
  const pixels = header.width * header.height;
  if (pixels > maxPixels) {
    throw bad(`${header.width} × ${header.height} pixels, over the limit of ${maxPixels}. Make the image smaller.`);
  }
  if ((header.pages ?? 1) > 1) throw bad('an animated image. Keep one frame of it.');
  if (header.depth !== 'uchar') throw bad('a picture with more than 8 bits per channel. Convert it to 8 bits.');
  if (header.space === 'cmyk' || (header.channels === 4 && header.format === 'jpeg')) {
    throw bad('a CMYK picture. Convert it to RGB.');
  }
  try {
    const { data, info } = await sharp(bytes, options)
      .autoOrient()
      .removeAlpha()
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`${info.channels} channels after conversion`);
    return { width: info.width, height: info.height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
  } catch (error) {
    throw bad(`the image is truncated or damaged (${reason(error)}). Copy the image again.`, error);
  }
}

/** Sizes of encoded images by digest, from their headers; `BadDataset` for one that cannot be read. */
export async function imageSizes(images: ReadonlyMap<string, Uint8Array>): Promise<Map<string, ImageSize>> {
  const sizes = new Map<string, ImageSize>();
  for (const [digest, bytes] of images) {
    try {
      const { width, height } = (await sharp(bytes, { limitInputPixels: false }).metadata()).autoOrient;
      sizes.set(digest, { width, height });
    } catch (error) {
      const problem = `Image ${digest}: its header is damaged (${reason(error)})`;
      throw new LiloraError('BadDataset', `${problem}. Copy the image again.`, { cause: error });
    }
  }
  return sizes;
}

function formatProblem(bytes: Uint8Array): string | null {
  if (SIGNATURES.some(({ bytes: magic, at }) => magic.every((byte, i) => bytes[at + i] === byte))) return null;
  const start = Buffer.from(bytes.subarray(0, 512)).toString('latin1').trimStart().toLowerCase();
  if (start.startsWith('<!doctype html') || start.startsWith('<html') || start.startsWith('<head')) {
    return 'a web page (HTML), not an image: the download failed. Fetch the image itself.';
  }
  const known: [string, string][] = [
    ['gif8', 'GIF'],
    ['bm', 'BMP'],
    ['ii*\0', 'TIFF'],
    ['mm\0*', 'TIFF'],
    ['<svg', 'SVG'],
    ['<?xml', 'XML or SVG'],
    ['%pdf', 'PDF'],
  ];
  const format =
    known.find(([magic]) => start.startsWith(magic))?.[1] ?? (start.slice(4, 8) === 'ftyp' ? 'HEIF or AVIF' : null);
  return `${format ? `a ${format} file` : 'an unknown kind of file'}. JPEG, PNG and WebP are read: convert it.`;
}

function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!.slice(0, 200);
}
