import { describe, expect, it } from 'vitest';
import type { HostTensor } from '../../core/host-tensor.ts';
import { expectNear } from '../../test/reference.ts';
import { fromHost, multiply } from '../tensors/linalg.ts';
import { type Merging, mergeAdapters } from './merge.ts';
import type { PlainLora } from './ranks.ts';

const host = (shape: number[], ...data: number[]): HostTensor => ({ shape, data: Float32Array.from(data) });
const A = [host([2, 3], 1.1, -0.53, 0.27, 0.51, 2, -1.03), host([2, 3], 0.77, 1.52, -0.23, -1, 0.47, 0.125)];
const B = [host([4, 2], 0.5, 1, -1, 0.25, 2, 0, 0.125, -0.75), host([4, 2], 1, -0.5, 0.25, 2, -1.5, 0.5, 0, 1.25)];
const NAMES = ['projector', 'layers.0.mlp', 'layers.1.mlp', 'layers.2.mlp'];

/** The same pair on every layer, at scale 2. */
const lora = (a: HostTensor, b: HostTensor, names = NAMES): PlainLora => ({
  rank: 2,
  alpha: 4,
  layers: new Map(names.map((name) => [name, { A: a, B: b }])),
});
const TWO = [lora(A[0]!, B[0]!), lora(A[1]!, B[1]!)];

function deltaOf({ layers, rank, alpha }: PlainLora, name = 'projector'): number[] {
  const pair = layers.get(name)!;
  expect(pair.A.shape[0]).toBe(rank);
  return [...multiply(fromHost(pair.B), fromHost(pair.A)).data].map((x) => (alpha / rank) * x);
}

describe('two adapters as one', () => {
  // PEFT 0.21: see test/reference/methods/merge.py.
  const linear = [2.225, 3.245, -1.48875, -2.3625, 2.205, -0.695, 2.4725, -2.6125, 1.01375, -0.9925, -2.055625, 1.2875];
  it.each<[Merging, number[]]>([
    [{ how: 'linear', weights: [0.75, 0.25] }, linear],
    [{ how: 'ties', density: 0.5 }, [2.33, 3.02, 0.0, -3.615, 2.35, 0.0, 4.4, -3.105, 0.0, 0.0, -3.1325, 0.0]],
    [
      { how: 'ties', density: 0.25, weights: [2, 0.5] },
      [0.0, 6.94, 0.0, -1.8075, 0.0, 0.0, 8.8, -2.045, 0.0, 0.0, -6.265, 0.0],
    ],
  ])('%o is as PEFT has it', (merging, wanted) => {
    const merged = mergeAdapters(TWO, merging);
    expect(merged.rank).toBe(4);
    for (const name of NAMES) expectNear(deltaOf(merged, name), wanted, 1e-5, name);
  });

  it('keeps the rank where all share one A, as LiLoRA’s do', () => {
    const merged = mergeAdapters([lora(A[0]!, B[0]!), lora(A[0]!, B[1]!)], { how: 'linear' });
    const [a, b] = [lora(A[0]!, B[0]!), lora(A[0]!, B[1]!)].map((one) => deltaOf(one));
    expect(merged.rank).toBe(2);
    expectNear(
      deltaOf(merged),
      a!.map((x, i) => (x + b![i]!) / 2),
      1e-5,
      'mean',
    );
  });

  it('scaled by depth goes from the mean outside of blocks and in the first to the sum in the deepest', () => {
    const mean = deltaOf(mergeAdapters(TWO, { how: 'linear' }));
    const scaled = mergeAdapters(TWO, { how: 'linear', lines: {} });
    for (const [name, factor] of [
      ['projector', 1],
      ['layers.0.mlp', 1],
      ['layers.1.mlp', 1.5],
      ['layers.2.mlp', 2],
    ] as const)
      expectNear(
        deltaOf(scaled, name),
        mean.map((x) => factor * x),
        1e-5,
        name,
      );
    const flat = mergeAdapters(TWO, { how: 'linear', lines: { beta: 0 } });
    expectNear(deltaOf(flat, 'layers.2.mlp'), mean, 1e-5, 'no slope');
    // TIES: α brings the size of all entries to that of the mean.
    const tied = mergeAdapters(TWO, { how: 'ties', lines: { beta: 0 } });
    const size = (delta: readonly number[]) => delta.reduce((sum, x) => sum + Math.abs(x), 0);
    expect(size(deltaOf(tied))).toBeCloseTo(size(mean), 4);
  });

  it('refuses what does not belong together', () => {
    const other = lora(A[1]!, B[1]!, ['projector']);
    expect(() => mergeAdapters([TWO[0]!, other], { how: 'linear' })).toThrow(/different layers/);
    expect(() => mergeAdapters(TWO.slice(1), { how: 'linear' })).toThrow(/two or more/);
    expect(() => mergeAdapters(TWO, { how: 'linear', weights: [1] })).toThrow(/1 weights/);
  });
});
