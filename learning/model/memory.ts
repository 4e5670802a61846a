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

/** One training step, as far as memory depends on it. */
export interface StepShape {
  readonly rows: number;
  /** Tokens per row, padding included. */
  readonly length: number;
  /** Tokens that carry loss, in all rows. */
  readonly answers: number;
  /** Trained numbers. */
  readonly trained: number;
  /** Decoder matrices stay in 16 bits a number. */
  readonly stored: boolean;
  /** Only the input of every layer is kept for the way back. */
  readonly checkpointing: boolean;
}

/** What a training step adds to the weights, in bytes. The largest parts; not what the process and its libraries take. */
export interface StepMemory {
  /** Kept from the way there for the way back. */
  readonly activations: number;
  /** Logits, their exponentials and their slopes. */
  readonly logits: number;
  /** Trained weights and two moments before and after the update, and the gradient. */
  readonly moments: number;
  /** The largest matrix that is widened from 16 bits while it is used. */
  readonly widened: number;
}

/**
 * By formula, for adapters on the MLPs of the decoder (preset `paper`): per token a layer keeps the outputs of its two norms,
 * the input of the MLP, q, k and v, a row of attention weights for every head, and four states of the MLP.
 */
export function stepMemory({ config: { decoder } }: ModelDefinition, step: StepShape): StepMemory {
  const { width, inner, layers, heads, kvHeads, headSize, vocabulary } = decoder;
  const tokens = step.rows * step.length;
  const layer = 3 * width + (heads + 2 * kvHeads) * headSize + heads * step.length + 4 * inner;
  const kept = step.checkpointing ? layers * width + layer : layers * layer;
  return {
    activations: FLOAT * tokens * kept,
    logits: FLOAT * 3 * step.answers * vocabulary,
    moments: FLOAT * 7 * step.trained,
    widened: step.stored ? FLOAT * width * Math.max(vocabulary, inner) : 0,
  };
}
