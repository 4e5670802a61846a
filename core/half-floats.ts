const F32 = new Float32Array(1);
const BITS = new Uint32Array(F32.buffer);

/** Widens IEEE 754 half-precision numbers, given as their 16 bits, to float32. Exact. */
export function widenFloat16(bits: Uint16Array): Float32Array {
  const out = new Float32Array(bits.length);
  const outBits = new Uint32Array(out.buffer);
  for (let i = 0; i < bits.length; i++) {
    const h = bits[i]!;
    const sign = (h & 0x8000) << 16;
    const exponent = (h >> 10) & 0x1f;
    const fraction = h & 0x3ff;
    if (exponent === 0) out[i] = (h & 0x8000 ? -1 : 1) * fraction * 2 ** -24;
    else if (exponent === 31) outBits[i] = sign | 0x7f800000 | (fraction << 13);
    else outBits[i] = sign | ((exponent + 112) << 23) | (fraction << 13);
  }
  return out;
}

/** Widens bfloat16 numbers, given as their 16 bits, to float32. Exact. */
export function widenBfloat16(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = bits[i]! << 16;
  return new Float32Array(out.buffer);
}

/** Rounds float32 numbers to bfloat16 (nearest, ties to even; NaN stays NaN) and gives their 16 bits. */
export function narrowToBfloat16(numbers: Float32Array): Uint16Array {
  const out = new Uint16Array(numbers.length);
  for (let i = 0; i < numbers.length; i++) {
    F32[0] = numbers[i]!;
    const b = BITS[0]!;
    const notANumber = (b & 0x7fffffff) > 0x7f800000;
    out[i] = notANumber ? (b >>> 16) | 0x40 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return out;
}

/** Rounds float32 numbers to half precision (nearest, ties to even; too large becomes infinite) and gives their bits. */
export function narrowToFloat16(numbers: Float32Array): Uint16Array {
  const out = new Uint16Array(numbers.length);
  for (let i = 0; i < numbers.length; i++) {
    F32[0] = numbers[i]!;
    const b = BITS[0]!;
    const sign = (b >>> 16) & 0x8000;
    const magnitude = b & 0x7fffffff;
    let half: number;
    if (magnitude > 0x7f800000) half = 0x7e00;
    else if (magnitude >= 0x477ff000) half = 0x7c00;
    else if (magnitude >= 0x38800000) half = (magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13;
    else half = roundHalfEven(Math.abs(numbers[i]!) * 2 ** 24);
    out[i] = sign | half;
  }
  return out;
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
