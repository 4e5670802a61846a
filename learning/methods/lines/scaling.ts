import { LiloraError } from '../../../core/errors.ts';
import type { HostTensor } from '../../../core/host-tensor.ts';
import { fromHost, type Matrix, multiply } from '../../tensors/linalg.ts';
import type { LoraPair } from '../method.ts';

/** The number of the decoder block that a module belongs to; null outside of them (projector). */
export function blockOf(layer: string): number | null {
  const found = /(?:^|\.)layers\.(\d+)\./.exec(layer);
  return found ? Number(found[1]) : null;
}

/**
 * The factor of every layer (arXiv 2410.17146): α + β · ℓ / (L − 1) in block ℓ of L, α outside of blocks. L counts up to
 * the deepest block among the layers; a single block is the deepest, so α + β.
 */
export function depthFactors(layers: readonly string[], alpha: number, beta: number): Map<string, number> {
  const blocks = layers.map(blockOf);
  const last = Math.max(0, ...blocks.map((block) => block ?? 0));
  const depth = (block: number) => (last === 0 ? 1 : block / last);
  return new Map(
    layers.map((layer, i) => [layer, blocks[i] === null ? alpha : alpha + beta * depth(blocks[i]!)] as const),
  );
}

const times = ({ shape, data }: HostTensor, factor: number): HostTensor => ({
  shape,
  data: data.map((x) => x * factor),
});

/** LoRA pairs whose ΔW is the old one times a factor per layer: it goes into B. */
export function scalePairs(
  pairs: ReadonlyMap<string, LoraPair>,
  factors: ReadonlyMap<string, number>,
): Map<string, LoraPair> {
  return new Map([...pairs].map(([layer, { A, B }]) => [layer, { A, B: times(B, factors.get(layer) ?? 1) }]));
}

/**
 * α for a merged adapter, as the released code sets it: ‖Σ_t ΔW_t‖₁ / ‖ΔW_merged‖₁ / T, over all layers. The mean of all
 * gives 1. The scales alpha / rank must be in B already. `BadConfig` for a merged adapter that is zero.
 */
export function mergeAlpha(
  tasks: ReadonlyArray<ReadonlyMap<string, LoraPair>>,
  merged: ReadonlyMap<string, LoraPair>,
): number {
  let [sum, whole] = [0, 0];
  for (const [layer, pair] of merged) {
    whole += norm1([pair]);
    sum += norm1(tasks.flatMap((task) => task.get(layer) ?? []));
  }
  if (whole === 0) throw new LiloraError('BadConfig', 'The merged adapter changes nothing: there is no scale for it.');
  return sum / whole / tasks.length;
}

/** Σ |entries| of Σ B A, row by row: nothing of size [out, in] is held. */
function norm1(pairs: readonly LoraPair[]): number {
  const factors = pairs.map(({ A, B }) => ({ A: fromHost(A), B: fromHost(B) }));
  let sum = 0;
  for (let row = 0; row < (factors[0]?.B.rows ?? 0); row++) {
    const rows = factors.map(({ A, B }) => multiply(rowOf(B, row), A).data);
    for (let i = 0; i < rows[0]!.length; i++) sum += Math.abs(rows.reduce((total, data) => total + data[i]!, 0));
  }
  return sum;
}

const rowOf = ({ cols, data }: Matrix, row: number): Matrix => ({
  rows: 1,
  cols,
  data: data.subarray(row * cols, (row + 1) * cols),
});

/** start + factor · (end − start). */
export function towards(start: HostTensor, end: HostTensor, factor: number): HostTensor {
  const data = end.data.map((x, i) => start.data[i]! + factor * (x - start.data[i]!));
  return { shape: end.shape, data };
}
