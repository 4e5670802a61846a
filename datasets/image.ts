import sharp, { type Metadata } from 'sharp';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';
import { type Images, imageOf } from './images.ts';

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
 * blended), colour profiles are ignored, CMYK is mixed by its simple formula, of 16 bits per channel the upper 8 are taken
 * (in grey, too, where Pillow makes all but the darkest white). Of an animation it is the first frame. EXIF orientation is
 * applied, as transformers' `load_image` does. libvips checks the size limit before anything is decoded. Damaged
 * pictures are `BadDataset`. `name` is only used in messages.
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
  const readHeader = async (): Promise<Metadata> => {
    try {
      return await sharp(bytes, { ...options, limitInputPixels: false }).metadata();
    } catch (error) {
      throw bad(`the image header is damaged (${reason(error)}). Copy the image again.`, error);
    }
  };
  // Of what is read, JPEG alone knows CMYK.
  const isCmyk = formatOf(bytes) === 'jpeg' && (await readHeader()).space === 'cmyk';
  try {
    const upright = sharp(bytes, options).autoOrient();
    const pipeline = isCmyk
      ? upright.pipelineColourspace('cmyk').toColourspace('cmyk')
      : upright.removeAlpha().toColourspace('srgb');
    const { data, info } = await pipeline.raw().toBuffer({ resolveWithObject: true });
    if (info.channels !== (isCmyk ? 4 : 3)) throw new Error(`${info.channels} channels after conversion`);
    const { width, height } = info;
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.length);
    return { width, height, data: isCmyk ? rgbOf(pixels) : pixels };
  } catch (error) {
    const { width, height } = await readHeader();
    if (width * height > maxPixels)
      throw bad(`${width} × ${height} pixels, over the limit of ${maxPixels}. Make the image smaller.`);
    throw bad(`the image is truncated or damaged (${reason(error)}). Copy the image again.`, error);
  }
}

/** CMYK as RGB, rounded as Pillow rounds: what black leaves of white, less the part that an ink takes. */
function rgbOf(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; from < cmyk.length; from += 4) {
    const light = 255 - cmyk[from + 3]!;
    for (let ink = 0; ink < 3; ink++) {
      const product = cmyk[from + ink]! * light + 128;
      rgb[to++] = light - (((product >> 8) + product) >> 8);
    }
  }
  return rgb;
}

/** Sizes of encoded images by digest, as they are known or from their headers; `BadDataset` for one that cannot be read. */
export async function imageSizes(images: Images): Promise<ReadonlyMap<string, ImageSize>> {
  if (images.sizes) return images.sizes;
  const sizes = new Map<string, ImageSize>();
  for (const digest of images.keys()) {
    const bytes = await imageOf(images, digest);
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

/** By the first bytes; null for what is not read. */
function formatOf(bytes: Uint8Array): string | null {
  const found = SIGNATURES.find(({ bytes: magic, at }) => magic.every((byte, i) => bytes[at + i] === byte));
  return found?.format ?? null;
}

function formatProblem(bytes: Uint8Array): string | null {
  if (formatOf(bytes) !== null) return null;
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
