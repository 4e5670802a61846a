import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import type { AdaptedLayer } from '../../model/model.ts';
import { fromHost } from '../../tensors/linalg.ts';
import { Random } from '../../training/random.ts';
import { relativeChange } from '../lilora/factors.ts';
import { PAIR } from '../lora.ts';

/** Mean and standard deviation of a tensor: what normalises it, and the way back. A tensor of equal numbers (B of a layer that no token reached) comes back exactly. */
export function statistics({ data }: HostTensor): HostTensor {
  const mean = data.reduce((sum, x) => sum + x, 0) / data.length;
  const variance = data.reduce((sum, x) => sum + (x - mean) ** 2, 0) / data.length;
  return { shape: [2], data: Float32Array.of(mean, Math.sqrt(variance)) };
}

/** Keys of an adapter's tensors, `<module path>/<tensor>`, in the order in which they lie in the vector. */
export const keysOf = (layers: readonly AdaptedLayer[]): string[] =>
  layers.flatMap(({ name }) => PAIR.map((tensor) => `${name}/${tensor}`));

/** Numbers of one adapter. */
export const sizeOfAdapter = (layers: readonly AdaptedLayer[], rank: number): number =>
  layers.reduce((sum, layer) => sum + rank * (layer.in + layer.out), 0);

/** An adapter as one vector, each tensor normalised by the statistics of its key. */
export function flatten(layers: readonly AdaptedLayer[], adapter: TensorMap, stats: TensorMap): Float32Array {
  const parts = keysOf(layers).map((key) => {
    const [mean, deviation] = stats.get(key)!.data as unknown as [number, number];
    return adapter.get(key)!.data.map((x) => (x - mean) / (deviation || 1));
  });
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The way back from `flatten`. */
export function unflatten(
  layers: readonly AdaptedLayer[],
  rank: number,
  vector: Float32Array,
  stats: TensorMap,
): TensorMap {
  const adapter: TensorMap = new Map();
  let at = 0;
  for (const layer of layers)
    for (const [tensor, shape] of [
      ['lora_A', [rank, layer.in]],
      ['lora_B', [layer.out, rank]],
    ] as const) {
      const [mean, deviation] = stats.get(`${layer.name}/${tensor}`)!.data as unknown as [number, number];
      const size = shape[0] * shape[1];
      const data = vector.subarray(at, at + size).map((x) => x * deviation + mean);
      adapter.set(`${layer.name}/${tensor}`, { shape, data });
      at += size;
    }
  return adapter;
}

/** The largest ‖ΔW − ΔW_of‖_F / ‖ΔW_of‖_F of all layers. */
export function worstError(layers: readonly AdaptedLayer[], made: TensorMap, of: TensorMap): number {
  const factors = (adapter: TensorMap, layer: string) =>
    ['lora_B', 'lora_A'].map((tensor) => fromHost(adapter.get(`${layer}/${tensor}`)!)) as [Matrix, Matrix];
  return Math.max(...layers.map(({ name }) => relativeChange(...factors(made, name), ...factors(of, name))));
}

type Matrix = ReturnType<typeof fromHost>;

/** A hidden state made short by a fixed random projection, which hardly changes distances between tasks. */
export function project({ data }: HostTensor, size: number): HostTensor {
  const random = new Random(0).split('task vector');
  const out = new Float32Array(size);
  const length = Math.sqrt(data.reduce((sum, x) => sum + x * x, 0)) || 1;
  for (let i = 0; i < size; i++) {
    let sum = 0;
    for (const x of data) sum += x * random.normal();
    out[i] = sum / length;
  }
  return { shape: [size], data: out };
}
