import type { RgbImage } from '../image.ts';

/** Pillow's numbers of the filters, as `resample` in a preprocessor configuration gives them. */
export const FILTERS: Readonly<Record<number, Filter>> = {
  1: { name: 'lanczos', support: 3, at: lanczos },
  2: { name: 'bilinear', support: 1, at: (x) => (Math.abs(x) < 1 ? 1 - Math.abs(x) : 0) },
  3: { name: 'bicubic', support: 2, at: bicubic },
};

export interface Filter {
  readonly name: string;
  /** Half-width in pixels when enlarging. */
  readonly support: number;
  at(x: number): number;
}

/** Keys' cubic with a = -0.5. */
function bicubic(signed: number): number {
  const a = -0.5;
  const x = Math.abs(signed);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

function lanczos(x: number): number {
  return -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Fixed-point weights of one pass: 8 bits for the pixel, 2 for sums beyond white, 22 for the fraction. */
const PRECISION_BITS = 32 - 8 - 2;

interface Weights {
  /** Weights per output pixel. */
  readonly taps: number;
  /** First input pixel of each output pixel. */
  readonly first: Int32Array;
  /** How many input pixels each output pixel uses. */
  readonly count: Int32Array;
  /** [outputs * taps], fixed point. */
  readonly weights: Int32Array;
}

/** Which pixels of an output are wanted, along one side. */
interface Span {
  readonly start: number;
  readonly length: number;
}

/**
 * The same sums in the same order as `precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow's `Resample.c`, for the pixels
 * of `span` alone.
 */
function weightsFor(input: number, whole: number, span: Span, filter: Filter): Weights {
  const scale = input / whole;
  const output = span.length;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const taps = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(output);
  const count = new Int32Array(output);
  const weights = new Int32Array(output * taps);
  const row = new Float64Array(taps);
  for (let out = 0; out < output; out++) {
    const center = (span.start + out + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(input, Math.trunc(center + support + 0.5));
    let total = 0;
    for (let i = start; i < end; i++) {
      const weight = filter.at((i - center + 0.5) * (1 / stretch));
      row[i - start] = weight;
      total += weight;
    }
    for (let i = 0; i < end - start; i++) {
      const weight = (total === 0 ? row[i]! : row[i]! / total) * 2 ** PRECISION_BITS;
      weights[out * taps + i] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    first[out] = start;
    count[out] = end - start;
  }
  return { taps, first, count, weights };
}

function clip8(sum: number): number {
  const value = sum >> PRECISION_BITS;
  return value < 0 ? 0 : Math.min(value, 255);
}

/** A part of a picture. */
export interface Part {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Resizes as `Image.resize` of Pillow 13 does with the same filter, bit for bit: antialiased, each pass rounded to 8 bits,
 * a pass that changes nothing left out. The horizontal pass comes first, unless the height shrinks by more than twice what
 * the width does.
 * @param part of the resized picture that is wanted; nothing else is computed, however large the whole would be
 */
export function resize(
  image: RgbImage,
  width: number,
  height: number,
  filter: Filter,
  part: Part = { left: 0, top: 0, width, height },
): RgbImage {
  const across = { start: part.left, length: part.width };
  const down = { start: part.top, length: part.height };
  const [less, narrower] = [image.height - height, image.width - width];
  const rows = (from: RgbImage) =>
    width === image.width && part.width === width ? from : resizeRows(from, width, across, filter);
  const columns = (from: RgbImage) =>
    height === image.height && part.height === height ? from : resizeColumns(from, height, down, filter);
  return less > 0 && less > narrower * 2 ? rows(columns(image)) : columns(rows(image));
}

function resizeRows(image: RgbImage, whole: number, span: Span, filter: Filter): RgbImage {
  const { taps, first, count, weights } = weightsFor(image.width, whole, span, filter);
  const width = span.length;
  const data = new Uint8Array(width * image.height * 3);
  for (let y = 0; y < image.height; y++) {
    for (let x = 0; x < width; x++) {
      let r = 1 << (PRECISION_BITS - 1);
      let g = r;
      let b = r;
      let from = (y * image.width + first[x]!) * 3;
      for (let k = x * taps; k < x * taps + count[x]!; k++) {
        const weight = weights[k]!;
        r += image.data[from]! * weight;
        g += image.data[from + 1]! * weight;
        b += image.data[from + 2]! * weight;
        from += 3;
      }
      const to = (y * width + x) * 3;
      data[to] = clip8(r);
      data[to + 1] = clip8(g);
      data[to + 2] = clip8(b);
    }
  }
  return { width, height: image.height, data };
}

function resizeColumns(image: RgbImage, whole: number, span: Span, filter: Filter): RgbImage {
  const { taps, first, count, weights } = weightsFor(image.height, whole, span, filter);
  const height = span.length;
  const stride = image.width * 3;
  const data = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    for (let i = 0; i < stride; i++) {
      let sum = 1 << (PRECISION_BITS - 1);
      let from = first[y]! * stride + i;
      for (let k = y * taps; k < y * taps + count[y]!; k++) {
        sum += image.data[from]! * weights[k]!;
        from += stride;
      }
      data[y * stride + i] = clip8(sum);
    }
  }
  return { width: image.width, height, data };
}
