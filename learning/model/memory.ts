import { sizeOf } from '../../core/host-tensor.ts';
import { isDecoderMatrix } from './decoder.ts';
import type { AdaptedLayer } from './model.ts';
import { buildModel, type ModelDefinition } from './registry.ts';

/** What a base model needs in memory, by formula from its configuration. Bytes, but for `parameters`. */
export interface ModelMemory {
  /** Numbers in the files. */
  readonly parameters: number;
  /** Weights in the engine, in float32; what no computation reads is not loaded. */
  readonly weights: number;
  /** The same with the decoder's matrices in 16 bits a number, as their files usually have them. */
  readonly stored: number;
  /** Above the weights while they are read: the largest tensor as float32 and as its 2 bytes in the file. */
  readonly loading: number;
  /** Tables of rotary positions. */
  readonly tables: number;
  /** Keys and values of one token while answering, per row. */
  readonly cachePerToken: number;
  readonly layers: readonly AdaptedLayer[];
}

const FLOAT = 4;
const HALF = 2;

export function modelMemory(definition: ModelDefinition): ModelMemory {
  const { family, config, shapes } = definition;
  const { decoder } = config;
  const sizes = [...shapes].map(([name, shape]) => ({ name, size: sizeOf(shape), read: !family.unused(name, config) }));
  const read = sizes.filter((tensor) => tensor.read).map(({ size }) => size);
  const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
  return {
    parameters: sum(sizes.map(({ size }) => size)),
    weights: FLOAT * sum(read),
    stored: sum(
      sizes.map(({ name, size, read }) => (read ? size * (isDecoderMatrix(name, decoder) ? HALF : FLOAT) : 0)),
    ),
    loading: (FLOAT + HALF) * Math.max(...read),
    tables: FLOAT * 2 * decoder.contextLength * decoder.headSize,
    cachePerToken: FLOAT * 2 * decoder.layers * decoder.kvHeads * decoder.headSize,
    layers: buildModel(definition, () => {
      throw new Error('listing layers reads no weight');
    }).layers,
  };
}
