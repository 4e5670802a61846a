import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import type { HostTensor } from '../../core/host-tensor.ts';
import { largestParts } from '../tensors/decompose.ts';
import { fromHost, type Matrix, multiply, toHost } from '../tensors/linalg.ts';
import { depthFactors, mergeAlpha, scalePairs } from './lines/scaling.ts';
import type { LoraPair } from './method.ts';
import { type PlainLora, pairScale } from './ranks.ts';

export interface Merging {
  /** `linear`: Σ w_t ΔW_t, exactly. `ties`: TIES merging (arXiv 2306.01708) of every ΔW, as a LoRA of the rank of all together. */
  readonly how: 'linear' | 'ties';
  /** One per adapter. Default: equal and 1 in sum for `linear`, 1 each for `ties`. */
  readonly weights?: readonly number[] | undefined;
  /** For `ties`: share of the entries of every ΔW that stay. */
  readonly density?: number | undefined;
  /** Scales the result by depth (LiNeS, arXiv 2410.17146); `beta` is what the deepest block gets more than the first. */
  readonly lines?: { readonly beta?: number | undefined } | undefined;
}

/** The share of entries that stay is taken within each matrix, as PEFT does; the paper takes it over the whole model. */
const DENSITY = DEFAULTS['merge.density'].value;

/**
 * Several adapters as one; its scale alpha / rank is 1. All must adapt the same layers, else `BadConfig`. With LiNeS, α is
 * that of the released code and β, where none is given, lets the deepest block have the plain sum.
 */
export function mergeAdapters(adapters: readonly PlainLora[], merging: Merging): PlainLora {
  const { how, lines, density = DENSITY } = merging;
  const count = adapters.length;
  const weights = merging.weights ?? adapters.map(() => (how === 'linear' ? 1 / count : 1));
  if (count < 2 || weights.length !== count)
    throw new LiloraError(
      'BadConfig',
      `${count} adapters and ${weights.length} weights: give two or more, and a weight for each.`,
    );
  const names = [...adapters[0]!.layers.keys()];
  for (const { layers } of adapters)
    if (layers.size !== names.length || names.some((name) => !layers.has(name)))
      throw new LiloraError('BadConfig', 'The adapters are of different layers. Merge tasks of one stream.');
  // From here on scales are in B.
  const scaled = adapters.map((adapter) => {
    const scales = [...adapter.layers].map(([name, pair]) => [name, pairScale(adapter, pair)] as const);
    return scalePairs(adapter.layers, new Map(scales));
  });
  const pairsOf = (name: string) => scaled.map((layers) => layers.get(name)!);
  const shared = how === 'linear' && names.every((name) => sameA(pairsOf(name)));
  const merge = (pairs: readonly LoraPair[]): LoraPair => {
    if (shared)
      return {
        A: pairs[0]!.A,
        B: weighted(
          pairs.map(({ B }) => B),
          weights,
        ),
      };
    return how === 'linear' ? stacked(pairs, weights) : ties(pairs, weights, density, ranksOf(pairs));
  };
  const merged = new Map(names.map((name) => [name, merge(pairsOf(name))]));
  if (!lines) return ofScaleOne(merged);
  const alpha = mergeAlpha(scaled, merged);
  const factors = depthFactors(names, alpha, lines.beta ?? alpha * (count - 1));
  return ofScaleOne(scalePairs(merged, factors));
}

const ranksOf = (pairs: readonly LoraPair[]) => pairs.reduce((sum, { A }) => sum + A.shape[0]!, 0);

/** The adapter of pairs that hold their scales: alpha is the rank, of each layer. */
function ofScaleOne(pairs: ReadonlyMap<string, LoraPair>): PlainLora {
  const rank = ranksOf([...pairs.values()].slice(0, 1));
  const layers = [...pairs].map(([name, pair]) => {
    const own = ranksOf([pair]);
    return [name, own === rank ? pair : { ...pair, alpha: own }] as const;
  });
  return { rank, alpha: rank, layers: new Map(layers) };
}

const sameA = ([first, ...others]: readonly LoraPair[]) =>
  others.every(({ A }) => A.data.length === first!.A.data.length && A.data.every((x, i) => x === first!.A.data[i]));

function weighted(tensors: readonly HostTensor[], weights: readonly number[]): HostTensor {
  const [{ shape, data }] = tensors as [HostTensor];
  return {
    shape,
    data: data.map((_, i) => tensors.reduce((sum, tensor, t) => sum + weights[t]! * tensor.data[i]!, 0)),
  };
}

/** Σ w_t B_t A_t as one pair: the A one below the other, the B side by side. */
function stacked(pairs: readonly LoraPair[], weights: readonly number[]): LoraPair {
  const [columns, rows] = [pairs[0]!.A.shape[1]!, pairs[0]!.B.shape[0]!];
  const rank = ranksOf(pairs);
  const [A, B] = [new Float32Array(rank * columns), new Float32Array(rows * rank)];
  let at = 0;
  for (const [t, pair] of pairs.entries()) {
    const own = pair.A.shape[0]!;
    A.set(pair.A.data, at * columns);
    for (let i = 0; i < rows; i++)
      for (let k = 0; k < own; k++) B[i * rank + at + k] = weights[t]! * pair.B.data[i * own + k]!;
    at += own;
  }
  return { A: { shape: [rank, columns], data: A }, B: { shape: [rows, rank], data: B } };
}

/**
 * Trim, elect sign, merge: of every ΔW the largest entries stay; an entry's sign is that of their sum; the mean is taken
 * over those that agree with it. The result is rounded to a rank.
 */
function ties(pairs: readonly LoraPair[], weights: readonly number[], density: number, rank: number): LoraPair {
  const deltas = pairs.map(({ A, B }) => trimmed(multiply(fromHost(B), fromHost(A)), density));
  const { rows, cols } = deltas[0]!;
  const data = new Float64Array(rows * cols);
  for (let i = 0; i < data.length; i++) {
    const sign = Math.sign(deltas.reduce((sum, delta) => sum + delta.data[i]!, 0));
    let [sum, agreeing] = [0, 0];
    for (const [t, delta] of deltas.entries()) {
      const value = weights[t]! * delta.data[i]!;
      if (value === 0 || Math.sign(value) !== sign) continue;
      sum += value;
      agreeing++;
    }
    if (agreeing > 0) data[i] = sum / agreeing;
  }
  const { left, right } = largestParts({ rows, cols, data }, rank);
  return { A: toHost(right), B: toHost(left) };
}

/** The matrix with so large a share of its entries as they are, the largest, and zeros. */
function trimmed(m: Matrix, density: number): Matrix {
  const kept = Math.floor(density * m.data.length);
  const sizes = m.data.map(Math.abs).sort();
  const least = kept > 0 ? sizes[sizes.length - kept]! : Number.POSITIVE_INFINITY;
  return { ...m, data: m.data.map((x) => (Math.abs(x) >= least ? x : 0)) };
}
