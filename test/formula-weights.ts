import { sizeOf } from '../core/host-tensor.ts';

/* Weights that follow from a formula, so that fixtures hold only names: the same as in make-published.py and variants.py. */

/** Uniform on ±scale from a hash of name and place. */
export function formulaNumbers(name: string, size: number, scale: number): Float32Array {
  const seed = Buffer.from(name).reduce((hash, byte) => (Math.imul(hash, 31) + byte) >>> 0, 0);
  return Float32Array.from({ length: size }, (_, i) => {
    let x = (Math.imul(i, 2654435761) + seed) >>> 0;
    x = Math.imul(x ^ (x >>> 15), 2246822519) >>> 0;
    x = Math.imul(x ^ (x >>> 13), 3266489917) >>> 0;
    x = (x ^ (x >>> 16)) >>> 0;
    return ((x / 2 ** 32) * 2 - 1) * scale;
  });
}

/** A weight by its name in memory. */
export function formulaWeight(name: string, shape: readonly number[]): Float32Array {
  const of = (scale: number) => formulaNumbers(name, sizeOf(shape), scale);
  if (/norm|ln_q/.test(name)) return of(0.2).map((x) => x + (name.endsWith('weight') ? 1 : 0));
  if (name.endsWith('bias')) return of(0.2);
  return of(name.includes('embed') ? 0.5 : 1.5 / Math.sqrt(sizeOf(shape.slice(1))));
}
