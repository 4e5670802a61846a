/** The tags of the first directory of a TIFF file, which EXIF is, too. Numbers only; others are absent or `undefined`. */
export interface Tags {
  has(tag: number): boolean;
  /** All values of a tag of BYTE, SHORT or LONG. */
  numbers(tag: number): number[] | undefined;
  /** The bytes of a tag's value. */
  bytes(tag: number): Uint8Array | undefined;
}

export const TAG = {
  bitsPerSample: 258,
  compression: 259,
  photometric: 262,
  orientation: 274,
  extraSamples: 338,
  sampleFormat: 339,
  xmp: 700,
} as const;

/** Bytes of a value by its type: BYTE, ASCII, SHORT, LONG, RATIONAL, …, UNDEFINED. */
const SIZES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8];

/** Reads the first directory; null where there is none. What lies outside of the bytes is left out. */
export function tagsOf(bytes: Uint8Array): Tags | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8) return null;
  const order = view.getUint16(0);
  const little = order === 0x4949;
  if ((!little && order !== 0x4d4d) || view.getUint16(2, little) !== 42) return null;
  const start = view.getUint32(4, little);
  if (start + 2 > bytes.length) return null;
  const places = new Map<number, { type: number; at: number; count: number }>();
  const count = view.getUint16(start, little);
  for (let i = 0; i < count && start + 2 + 12 * (i + 1) <= bytes.length; i++) {
    const entry = start + 2 + 12 * i;
    const type = view.getUint16(entry + 2, little);
    const values = view.getUint32(entry + 4, little);
    const size = (SIZES[type] ?? 0) * values;
    const at = size <= 4 ? entry + 8 : view.getUint32(entry + 8, little);
    if (size > 0 && at + size <= bytes.length) places.set(view.getUint16(entry, little), { type, at, count: values });
  }
  const numberAt = (type: number, at: number) =>
    type === 3 ? view.getUint16(at, little) : type === 4 ? view.getUint32(at, little) : view.getUint8(at);
  return {
    has: (tag) => places.has(tag),
    numbers(tag) {
      const found = places.get(tag);
      if (!found || ![1, 3, 4, 7].includes(found.type)) return undefined;
      const { type, at } = found;
      return Array.from({ length: Math.min(found.count, 64) }, (_, i) => numberAt(type, at + i * SIZES[type]!));
    },
    bytes(tag) {
      const found = places.get(tag);
      return found && bytes.subarray(found.at, found.at + found.count * SIZES[found.type]!);
    },
  };
}
