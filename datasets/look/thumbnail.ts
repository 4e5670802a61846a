import sharp from 'sharp';
import { decodeImage } from '../image.ts';

/** Pictures of no more pixels keep every one of them. */
const EXACT = 128 * 128;

/** A small picture as a `data:` URI, upright and without an alpha channel, as the model reads it. @param side longest, in pixels */
export async function thumbnail(bytes: Uint8Array, side: number): Promise<string> {
  const { data, width, height } = await decodeImage(bytes, 'picture');
  const small = await sharp(data, { raw: { width, height, channels: 3 } })
    .resize({ width: side, height: side, fit: 'inside', withoutEnlargement: true })
    .webp(width * height <= EXACT ? { lossless: true } : { quality: 80 })
    .toBuffer();
  return `data:image/webp;base64,${small.toString('base64')}`;
}
