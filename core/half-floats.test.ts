import { expect, test } from 'vitest';
import { sha256 } from './digest.ts';
import { narrowToBfloat16, narrowToFloat16, widenBfloat16, widenFloat16 } from './half-floats.ts';

const bytesOf = (array: Float32Array | Uint16Array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const ALL = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** Pseudo-random 32-bit words (the constants of Numerical Recipes), so that the digests below can be made again. */
function words(seed: number, count: number): Uint32Array {
  let x = seed;
  return Uint32Array.from({ length: count }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x;
  });
}

test('every half-precision number is widened as Python struct "e" widens it', () => {
  const numbers = ALL.filter((h) => !(((h >> 10) & 31) === 31 && h & 1023));
  expect(sha256(bytesOf(widenFloat16(numbers)))).toBe(
    '680bbc22915f61aa1bbfc7265bc3882a6aa42d299bfd2c571807196e5544de2e',
  );
});

test('float32 is rounded to half precision as Python struct "e" rounds it', () => {
  const bits = words(12345, 200_000).map((x) => (x & 0x807fffff) | ((96 + (((x >>> 23) & 0xff) % 48)) << 23));
  const digest = sha256(bytesOf(narrowToFloat16(new Float32Array(bits.buffer))));
  expect(digest).toBe('c535abdda208e4b0b851af891a1fe347c77278229261a8a2f6e09c9fa7e8688c');
});

test('float32 is rounded to bfloat16 as exact fractions round, ties to even', () => {
  const bits = words(777, 20_000).map((x, i) => {
    const finite = ((x >>> 23) & 255) === 255 ? x & ~(1 << 30) : x;
    return i % 7 === 0 ? (finite & 0xffff0000) | 0x8000 : finite;
  });
  const digest = sha256(bytesOf(narrowToBfloat16(new Float32Array(bits.buffer))));
  expect(digest).toBe('1c659b93fe72fc386ee0275337070946534eb4a0f5dc81dd0333acffd1a7b321');
});

test('all numbers survive a round trip; NaN stays NaN', () => {
  const isNaNBits = (mask: number) => (bits: number) => (bits & 0x7fff) > mask;
  const half = narrowToFloat16(widenFloat16(ALL));
  const brain = narrowToBfloat16(widenBfloat16(ALL));
  for (let i = 0; i < 65536; i++) {
    if (isNaNBits(0x7c00)(i)) expect(isNaNBits(0x7c00)(half[i]!)).toBe(true);
    else if (half[i] !== i) expect.fail(`half ${i} became ${half[i]}`);
    if (isNaNBits(0x7f80)(i)) expect(isNaNBits(0x7f80)(brain[i]!)).toBe(true);
    else if (brain[i] !== i) expect.fail(`bfloat16 ${i} became ${brain[i]}`);
  }
});
