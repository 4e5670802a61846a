/** Where the first picture of a GIF stands, and what is seen where it is not. */
export interface GifFrame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  /** The colour that Pillow shows for transparent pixels and outside of the frame. */
  readonly behind: readonly [number, number, number];
}

/** Reads up to the first picture of a GIF; null where there is none. */
export function firstFrame(bytes: Uint8Array): GifFrame | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 13) return null;
  const paletteAt = (at: number, flags: number) =>
    flags & 128 ? bytes.subarray(at, at + 3 * (2 << (flags & 7))) : null;
  const shared = paletteAt(13, bytes[10]!);
  let at = 13 + (shared?.length ?? 0);
  let transparent: number | null = null;
  while (at + 10 < bytes.length) {
    if (bytes[at] === 0x21) {
      // Extensions: blocks, each with its length before it, up to an empty one.
      if (bytes[at + 1] === 0xf9 && bytes[at + 2]! >= 4 && bytes[at + 3]! & 1) transparent = bytes[at + 6]!;
      at += 2;
      while (at < bytes.length && bytes[at] !== 0) at += bytes[at]! + 1;
    } else if (bytes[at] === 0x2c) {
      const palette = paletteAt(at + 10, bytes[at + 9]!) ?? shared;
      const index = transparent ?? 0;
      const colour = (band: number) => (palette ? (palette[3 * index + band] ?? 0) : index);
      return {
        left: view.getUint16(at + 1, true),
        top: view.getUint16(at + 3, true),
        width: view.getUint16(at + 5, true),
        height: view.getUint16(at + 7, true),
        behind: [colour(0), colour(1), colour(2)],
      };
    }
    at++;
  }
  return null;
}

/** RGB of RGBA pixels of a first frame: what shines through has the colour that Pillow gives it. */
export function opaqueGif(rgba: Uint8Array, width: number, frame: GifFrame): Uint8Array {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let pixel = 0; pixel < rgba.length / 4; pixel++) {
    const x = (pixel % width) - frame.left;
    const y = Math.floor(pixel / width) - frame.top;
    const inside = x >= 0 && y >= 0 && x < frame.width && y < frame.height;
    const seen = inside && rgba[4 * pixel + 3] !== 0;
    for (let band = 0; band < 3; band++) rgb[3 * pixel + band] = seen ? rgba[4 * pixel + band]! : frame.behind[band]!;
  }
  return rgb;
}
