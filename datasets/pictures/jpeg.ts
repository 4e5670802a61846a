/** One segment of the header of a JPEG file. */
interface Segment {
  readonly marker: number;
  readonly data: Uint8Array;
}

/** Starts of frames: markers whose segments say how large a picture is and of how many components. */
const isFrame = (marker: number) => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);

/** The segments before the pixels; what lies between them is passed over, as decoders do. */
export function* segmentsOf(bytes: Uint8Array): Generator<Segment> {
  for (let at = 2; at + 4 <= bytes.length; ) {
    if (bytes[at] !== 0xff) {
      at++;
      continue;
    }
    const marker = bytes[at + 1]!;
    // Fill bytes, and markers without a length.
    if (marker === 0xff || marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += marker === 0xff ? 1 : 2;
      continue;
    }
    if (marker === 0xda || marker === 0xd9) return;
    const end = at + 2 + ((bytes[at + 2]! << 8) | bytes[at + 3]!);
    yield { marker, data: bytes.subarray(at + 4, end) };
    at = end;
  }
}

/** Whether a JPEG holds inks: as libjpeg, by its four components. Damaged ones do not. */
export function isCmykJpeg(bytes: Uint8Array): boolean {
  for (const { marker, data } of segmentsOf(bytes)) if (isFrame(marker)) return data[5] === 4;
  return false;
}
