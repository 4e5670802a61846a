import { type HostTensor, sizeOf } from '../../core/host-tensor.ts';
import type { Random } from '../training/random.ts';

/** Uniform on ±1/√fan_in, the default of torch's linear layers (Kaiming uniform with a = √5). Shape [out, fan_in]. */
export function kaiming(shape: readonly [number, number], random: Random): HostTensor {
  const bound = 1 / Math.sqrt(shape[1]);
  return { shape, data: Float32Array.from({ length: sizeOf(shape) }, () => (2 * random.uniform() - 1) * bound) };
}

export function zeros(shape: readonly number[]): HostTensor {
  return { shape, data: new Float32Array(sizeOf(shape)) };
}

/** Normal numbers of mean 0. */
export function normal(shape: readonly number[], deviation: number, random: Random): HostTensor {
  return { shape, data: Float32Array.from({ length: sizeOf(shape) }, () => deviation * random.normal()) };
}
