import sharp, { type Metadata, type Sharp } from 'sharp';
import { DEFAULTS } from '../core/defaults.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';
import { type ImageSizes, type Images, imageOf } from './images.ts';
import { bmpHeader, decodeBmp } from './pictures/bmp.ts';
import { formatOf, formatProblem, type PictureFormat } from './pictures/formats.ts';
import { firstFrame, opaqueGif } from './pictures/gif.ts';
import { isCmykJpeg } from './pictures/jpeg.ts';
import { orientationOf } from './pictures/orientation.ts';
import { isCmykTiff, tiffProblem } from './pictures/tiff.ts';

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

/**
 * Decodes a JPEG, PNG, WebP, GIF, TIFF, AVIF or plain BMP picture to RGB as Pillow's `convert("RGB")` does: grey is repeated, alpha is
 * dropped (not blended), colour profiles are ignored, CMYK is mixed by its simple formula, of 16 bits per channel the upper 8
 * are taken (in grey, too, where Pillow makes all but the darkest white). Of an animation or of pages it is the first. It is
 * turned upright, as transformers' `load_image` does. Levels of AVIF differ where its colours are stored coarsely: libheif
 * repeats them, Pillow smooths. The size limit is checked before anything is decoded. Damaged pictures are `BadDataset`.
 * @param name only used in messages
 */
export async function decodeImage(bytes: Uint8Array, name: string, limits: ImageLimits = {}): Promise<RgbImage> {
  const bad = (what: string, cause?: unknown) => new LiloraError('BadDataset', `${name}: ${what}`, { cause });
  const { maxPixels = DEFAULTS['dataset.maxImagePixels'].value, maxBytes = DEFAULTS['dataset.maxImageBytes'].value } =
    limits;
  if (bytes.byteLength === 0) throw bad('the image file has zero bytes. Copy the image again.');
  if (bytes.byteLength > maxBytes) {
    throw bad(`the image file has ${bytes.byteLength} bytes, over the limit of ${maxBytes}. Make the image smaller.`);
  }
  const format = formatOf(bytes);
  if (format === null) throw bad(formatProblem(bytes));
  const problem = format === 'tiff' ? tiffProblem(bytes) : null;
  if (problem) throw bad(problem);
  const tooLarge = ({ width, height }: ImageSize) =>
    width * height > maxPixels &&
    bad(`${width} × ${height} pixels, over the limit of ${maxPixels}. Make the image smaller.`);
  const truncated = (cause: unknown) => bad('the image is truncated or damaged. Copy the image again.', cause);
  if (format === 'bmp') {
    const header = bmpHeader(bytes);
    if (typeof header === 'string') throw bad(header);
    const large = tooLarge(header);
    if (large) throw large;
    try {
      return decodeBmp(bytes, header);
    } catch (error) {
      throw truncated(error);
    }
  }
  // What libvips says of a failure may speak of a picture that is read beside this one: it stays the cause only.
  const readHeader = async (): Promise<Metadata> => {
    try {
      return await sharp(bytes, { ...OPTIONS, limitInputPixels: false }).metadata();
    } catch (error) {
      throw bad('the image header is damaged. Copy the image again.', error);
    }
  };
  try {
    return await pixelsOf(bytes, format, maxPixels);
  } catch (error) {
    if (isLiloraError(error, 'BadDataset')) throw error;
    throw tooLarge(await readHeader()) || truncated(error);
  }
}

const OPTIONS = { failOn: 'error', ignoreIcc: true, sequentialRead: true } as const;

async function pixelsOf(bytes: Uint8Array, format: PictureFormat, maxPixels: number): Promise<RgbImage> {
  const isCmyk = format === 'tiff' ? isCmykTiff(bytes) : format === 'jpeg' && isCmykJpeg(bytes);
  const decoder = sharp(bytes, { ...OPTIONS, limitInputPixels: maxPixels });
  const upright = turned(decoder, orientationOf(bytes, format));
  const pipeline = isCmyk
    ? upright.pipelineColourspace('cmyk').toColourspace('cmyk')
    : (format === 'gif' ? upright.ensureAlpha() : upright.removeAlpha()).toColourspace('srgb');
  const { data, info } = await pipeline.raw().toBuffer({ resolveWithObject: true });
  if (info.channels !== (isCmyk || format === 'gif' ? 4 : 3)) throw new Error(`${info.channels} channels`);
  const { width, height } = info;
  const pixels = new Uint8Array(data.buffer, data.byteOffset, data.length);
  if (isCmyk) return { width, height, data: rgbOf(pixels) };
  if (format !== 'gif') return { width, height, data: pixels };
  const frame = firstFrame(bytes);
  if (frame === null) throw new Error('no frame');
  return { width, height, data: opaqueGif(pixels, width, frame) };
}

/** Upright, by its EXIF orientation. Mirroring comes before turning, in whatever order they are called. */
function turned(picture: Sharp, orientation: number): Sharp {
  if (orientation === 2 || orientation === 7) picture.flop();
  if (orientation === 4 || orientation === 5) picture.flip();
  const angle = [0, 0, 0, 180, 0, 90, 90, 90, 270][orientation]!;
  return angle === 0 ? picture : picture.rotate(angle);
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
export async function imageSizes(images: Images): Promise<ImageSizes> {
  if (images.sizes) return images.sizes;
  const sizes = new Map<string, ImageSize>();
  for (const digest of images.keys()) {
    const bytes = await imageOf(images, digest);
    try {
      sizes.set(digest, await sizeOf(bytes));
    } catch (error) {
      throw new LiloraError('BadDataset', `Image ${digest}: its header is damaged. Copy the image again.`, {
        cause: error,
      });
    }
  }
  return sizes;
}

async function sizeOf(bytes: Uint8Array): Promise<ImageSize> {
  const format = formatOf(bytes);
  if (format === null) throw new Error('no format that is read');
  const header = format === 'bmp' ? bmpHeader(bytes) : await sharp(bytes, { limitInputPixels: false }).metadata();
  if (typeof header === 'string') throw new Error(header);
  const { width, height } = header;
  return orientationOf(bytes, format) > 4 ? { width: height, height: width } : { width, height };
}
