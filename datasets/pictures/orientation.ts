import { inflateSync } from 'node:zlib';
import type { PictureFormat } from './formats.ts';
import { segmentsOf } from './jpeg.ts';
import { TAG, tagsOf } from './tags.ts';

/** Where a picture may say which side is up: EXIF (a TIFF directory) and XMP (XML). */
interface Sources {
  exif?: Uint8Array | undefined;
  xmp?: string | undefined;
}

/** What a text chunk of a PNG may unpack to. */
const LONGEST = 2 ** 20;

/**
 * Orientation 1 to 8, as `ImageOps.exif_transpose` of Pillow finds it: in EXIF (of a PNG also as ImageMagick keeps it in a
 * text, `Raw profile type exif`), else in XMP. AVIF is upright when it is decoded. What cannot be read says nothing.
 */
export function orientationOf(bytes: Uint8Array, format: PictureFormat): number {
  const { exif, xmp } = SOURCES[format](bytes);
  const tags = exif && tagsOf(exif);
  const found = tags?.has(TAG.orientation)
    ? tags.numbers(TAG.orientation)
    : [Number(/tiff:Orientation(?:="|>)([0-9])/.exec(xmp ?? '')?.[1] ?? 1)];
  const orientation = found?.length === 1 ? found[0]! : 1;
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

const SOURCES: Readonly<Record<PictureFormat, (bytes: Uint8Array) => Sources>> = {
  jpeg: ofJpeg,
  png: ofPng,
  webp: ofWebp,
  tiff: (bytes) => ({ exif: bytes, xmp: text(tagsOf(bytes)?.bytes(TAG.xmp)) }),
  gif: () => ({}),
  avif: () => ({}),
  bmp: () => ({}),
};

const text = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('latin1');

/** A block of EXIF without the words that may stand before it. */
function plainExif(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (text(bytes.subarray(start, start + 6)) === 'Exif\0\0') start += 6;
  return bytes.subarray(start);
}

function ofJpeg(bytes: Uint8Array): Sources {
  const found: Sources = {};
  for (const { marker, data } of segmentsOf(bytes)) {
    if (marker !== 0xe1) continue;
    const start = text(data.subarray(0, 29))!;
    if (start.startsWith('Exif\0\0')) found.exif ??= plainExif(data);
    else if (start === 'http://ns.adobe.com/xap/1.0/\0') found.xmp = text(data);
  }
  return found;
}

function ofPng(bytes: Uint8Array): Sources {
  const found: Sources = {};
  let profile: Uint8Array | undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = text(bytes.subarray(at + 4, at + 8))!;
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (kind === 'eXIf') found.exif = plainExif(data);
    else if (kind === 'tEXt' || kind === 'zTXt' || kind === 'iTXt') {
      const key = text(data.subarray(0, Math.max(0, data.subarray(0, 80).indexOf(0))));
      if (key === 'XML:com.adobe.xmp') found.xmp = textOf(kind, data, key.length + 1);
      else if (key === 'Raw profile type exif') profile = fromHex(textOf(kind, data, key.length + 1)) ?? profile;
    }
    at += 12 + length;
  }
  found.exif ??= profile;
  return found;
}

/** The text of a chunk of a PNG, unpacked; undefined for one that is damaged or too long. */
function textOf(kind: 'tEXt' | 'zTXt' | 'iTXt', data: Uint8Array, start: number): string | undefined {
  let from = start;
  let packed = false;
  if (kind === 'zTXt') [packed, from] = [true, start + 1];
  if (kind === 'iTXt') {
    packed = data[start] === 1;
    // Flag and method, then a language and a translated keyword, each up to a zero.
    const language = data.indexOf(0, start + 2);
    const keyword = language < 0 ? -1 : data.indexOf(0, language + 1);
    if (keyword < 0) return undefined;
    from = keyword + 1;
  }
  try {
    const body = data.subarray(from);
    return text(packed ? inflateSync(body, { maxOutputLength: LONGEST }) : body);
  } catch {
    return undefined;
  }
}

/** `\nexif\n   LENGTH\nHEX…` as ImageMagick writes it. */
function fromHex(profile: string | undefined): Uint8Array | undefined {
  const hex = profile?.split('\n').slice(3).join('');
  return hex === undefined ? undefined : plainExif(new Uint8Array(Buffer.from(hex, 'hex')));
}

function ofWebp(bytes: Uint8Array): Sources {
  const found: Sources = {};
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let flags = 0;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const kind = text(bytes.subarray(at, at + 4));
    const length = view.getUint32(at + 4, true);
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (kind === 'VP8X') flags = data[0] ?? 0;
    // Chunks that the header does not announce are not there for libwebp either.
    else if (kind === 'EXIF' && flags & 8) found.exif ??= plainExif(data);
    else if (kind === 'XMP ' && flags & 4) found.xmp ??= text(data);
    at += 8 + length + (length % 2);
  }
  return found;
}
