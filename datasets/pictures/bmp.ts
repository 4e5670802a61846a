import type { RgbImage } from '../image.ts';

/** What the header of a BMP says. */
interface Header {
  readonly width: number;
  readonly height: number;
  /** Whether the first row in the file is the upper one. */
  readonly topDown: boolean;
  readonly bits: 1 | 4 | 8 | 24 | 32;
  /** Where the pixels begin. */
  readonly at: number;
  /** Bytes from row to row. */
  readonly stride: number;
  /** Blue, green, red and perhaps one more byte for each colour. */
  readonly palette: { readonly at: number; readonly size: 3 | 4; readonly colours: number };
}

const FIELDS = 3;
/** Masks of red, green and blue in pixels that are stored as blue, green, red. */
const PLAIN_MASKS = [0xff0000, 0xff00, 0xff];

/** The header of a BMP without compression; a text says why there is none that is read. */
export function bmpHeader(bytes: Uint8Array): Header | string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const damaged = 'the image header is damaged. Copy the image again.';
  if (bytes.length < 30) return damaged;
  const length = view.getUint32(14, true);
  const old = length === 12;
  if (!old && (length < 40 || bytes.length < 14 + length)) return damaged;
  const width = old ? view.getUint16(18, true) : view.getInt32(18, true);
  const rows = old ? view.getUint16(20, true) : view.getInt32(22, true);
  const bits = view.getUint16(old ? 24 : 28, true);
  const compression = old ? 0 : view.getUint32(30, true);
  if (width <= 0 || rows === 0) return damaged;
  if (bits !== 1 && bits !== 4 && bits !== 8 && bits !== 24 && bits !== 32)
    return `a BMP file of ${bits} bits per pixel; 1, 4, 8, 24 and 32 are read. Save it as PNG.`;
  if (compression === FIELDS && bits === 32) {
    const masks = bytes.length >= 66 && [54, 58, 62].map((at) => view.getUint32(at, true));
    if (!masks || masks.some((mask, i) => mask !== PLAIN_MASKS[i]))
      return 'a BMP file with its colours in an odd order. Save it as PNG.';
  } else if (compression !== 0) return 'a compressed BMP file; plain ones are read. Save it as PNG.';
  const size = old ? 3 : 4;
  const used = old ? 0 : view.getUint32(46, true);
  return {
    width,
    height: Math.abs(rows),
    topDown: rows < 0,
    bits,
    at: view.getUint32(10, true),
    stride: Math.ceil((width * bits) / 32) * 4,
    palette: { at: 14 + length, size, colours: bits > 8 ? 0 : used > 0 && used <= 256 ? used : 2 ** bits },
  };
}

/** The pixels of a BMP; throws when it is cut off or a pixel has no colour in the palette. */
export function decodeBmp(bytes: Uint8Array, header: Header): RgbImage {
  const { width, height, topDown, bits, at, stride, palette } = header;
  if (at + stride * height > bytes.length) throw new Error('the file ends before its last row');
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const row = at + stride * (topDown ? y : height - 1 - y);
    for (let x = 0; x < width; x++) {
      const from = bits > 8 ? row + (x * bits) / 8 : colourAt(palette, indexAt(bytes, row, x, bits));
      const to = 3 * (y * width + x);
      data[to] = bytes[from + 2]!;
      data[to + 1] = bytes[from + 1]!;
      data[to + 2] = bytes[from]!;
    }
  }
  return { width, height, data };
}

/** Pixels of less than a byte stand in it from its highest bits on. */
function indexAt(bytes: Uint8Array, row: number, x: number, bits: number): number {
  const place = x * bits;
  return (bytes[row + (place >> 3)]! >> (8 - bits - (place & 7))) & (2 ** bits - 1);
}

function colourAt({ at, size, colours }: Header['palette'], index: number): number {
  if (index >= colours) throw new Error('a pixel has no colour in the palette');
  return at + index * size;
}
