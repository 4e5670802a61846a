import { TAG, tagsOf } from './tags.ts';

const CMYK = 5;
const JPEG = [6, 7];

/** What is wrong with a TIFF whose pixels would not be those that Pillow reads; null for one that is read. */
export function tiffProblem(bytes: Uint8Array): string | null {
  const tags = tagsOf(bytes);
  if (!tags) return 'the image header is damaged. Copy the image again.';
  const [photometric = 1] = tags.numbers(TAG.photometric) ?? [];
  const [compression = 1] = tags.numbers(TAG.compression) ?? [];
  const bits = tags.numbers(TAG.bitsPerSample) ?? [1];
  const formats = tags.numbers(TAG.sampleFormat) ?? [1];
  const isYcbcr = photometric === 6 && !JPEG.includes(compression);
  if (photometric > CMYK + 1 || photometric === 4 || isYcbcr)
    return 'a TIFF file in colours other than grey, RGB, palette or CMYK. Save it as RGB.';
  if (formats.some((format) => format !== 1) || bits.some((depth) => depth > 16))
    return 'a TIFF file with numbers other than whole ones of at most 16 bits: measurements, no picture. Save it with 8 bits per channel.';
  if (photometric === CMYK && bits.some((depth) => depth !== 8))
    return 'a TIFF file in CMYK with other than 8 bits per channel. Save it as RGB.';
  // Colours that were multiplied by their alpha are divided by it in ways that differ from program to program.
  if (tags.numbers(TAG.extraSamples)?.includes(1))
    return 'a TIFF file whose colours are multiplied by its alpha channel. Save it without alpha.';
  return null;
}

/** Whether a TIFF holds inks. */
export function isCmykTiff(bytes: Uint8Array): boolean {
  return tagsOf(bytes)?.numbers(TAG.photometric)?.[0] === CMYK;
}
