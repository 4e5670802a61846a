import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { LiloraError } from '../../core/errors.ts';
import { gatherRows } from '../tensors/ops.ts';

/** How rotary positions turn (Su et al. 2021), as `rope_parameters` or `rope_scaling` of a `config.json` say it. */
export type Rope = { readonly theta: number } & (
  | { readonly kind: 'default' }
  | { readonly kind: 'linear'; readonly factor: number }
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFactor: number;
      readonly highFactor: number;
      readonly originalContext: number;
    }
  | {
      readonly kind: 'yarn';
      readonly factor: number;
      readonly fast: number;
      readonly slow: number;
      readonly originalContext: number;
      readonly truncate: boolean;
      /** Factor on cosines and sines. */
      readonly attentionFactor: number;
    }
);

const positive = z.number().positive();

/** The fields that are read; kinds that are not computed are refused by `readRope`, not here. */
export const ropeSchema = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: positive.optional(),
  factor: positive.nullish(),
  low_freq_factor: positive.nullish(),
  high_freq_factor: positive.nullish(),
  original_max_position_embeddings: positive.nullish(),
  beta_fast: positive.nullish(),
  beta_slow: positive.nullish(),
  attention_factor: positive.nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  truncate: z.boolean().optional(),
  partial_rotary_factor: z.literal(1).optional(),
  mrope_section: z.array(z.int().positive()).length(3).optional(),
  // Settings by kind of layer: only models with several kinds have them.
  full_attention: z.undefined().optional(),
  sliding_attention: z.undefined().optional(),
});

type Given = z.infer<typeof ropeSchema>;

/** The fields of a text configuration that say how positions turn. */
export interface RopeFields {
  readonly rope_theta?: number | undefined;
  readonly rope_scaling?: Given | null | undefined;
  readonly rope_parameters?: Given | null | undefined;
  readonly max_position_embeddings: number;
  readonly original_max_position_embeddings?: number | undefined;
}

/** `rope_scaling` of transformers 4 wins over `rope_parameters` of transformers 5, where it holds anything. */
export function ropeGiven({ rope_scaling, rope_parameters }: RopeFields): Given {
  return rope_scaling && Object.keys(rope_scaling).length > 0 ? rope_scaling : (rope_parameters ?? {});
}

/**
 * Completes what a configuration says, with the precedence of transformers 5. `BadModel` names a kind that is not
 * computed, or a field that is missing.
 * @param theta the family's, where the configuration has none
 * @param where for messages
 */
export function readRope(fields: RopeFields, theta: number, where: string): Rope {
  const given = ropeGiven(fields);
  const named = given.rope_type ?? given.type ?? 'default';
  // `mrope` is the old name for three axes; the frequencies are the ordinary ones.
  const kind = named === 'mrope' ? 'default' : named;
  const base = given.rope_theta ?? fields.rope_theta ?? theta;
  const need = (name: 'factor' | 'low_freq_factor' | 'high_freq_factor') => {
    const value = given[name];
    if (value === undefined || value === null)
      throw new LiloraError('BadModel', `${where}: RoPE type ${JSON.stringify(kind)} without a ${name}. Add it.`);
    return value;
  };
  const originalContext =
    fields.original_max_position_embeddings ?? given.original_max_position_embeddings ?? fields.max_position_embeddings;
  switch (kind) {
    case 'default':
      return { theta: base, kind };
    // Stretches rows longer than the context alone, and such rows are refused.
    case 'dynamic':
      need('factor');
      return { theta: base, kind: 'default' };
    case 'linear':
      return { theta: base, kind, factor: need('factor') };
    case 'llama3':
      return {
        theta: base,
        kind,
        factor: need('factor'),
        lowFactor: need('low_freq_factor'),
        highFactor: need('high_freq_factor'),
        originalContext,
      };
    case 'yarn': {
      const factor = given.factor === null ? fields.max_position_embeddings / originalContext : need('factor');
      return {
        theta: base,
        kind,
        factor,
        fast: given.beta_fast ?? 32,
        slow: given.beta_slow ?? 1,
        originalContext,
        truncate: given.truncate ?? true,
        attentionFactor: given.attention_factor ?? yarnAttention(factor, given),
      };
    }
    default: {
      const known = '"default", "linear", "dynamic", "llama3" and "yarn"';
      throw new LiloraError('BadModel', `${where}: RoPE type ${JSON.stringify(kind)}. Only ${known} are computed.`);
    }
  }
}

/** YaRN's factor on cosines and sines, with the two scales that DeepSeek gave it. */
function yarnAttention(factor: number, { mscale, mscale_all_dim: all }: Given): number {
  const scale = (times: number) => (factor <= 1 ? 1 : 0.1 * times * Math.log(factor) + 1);
  return mscale && all ? scale(mscale) / scale(all) : scale(1);
}

/** Angle per position of every pair of dimensions, [headSize / 2], rounded to float32 where the reference rounds. */
export function frequencies(rope: Rope, headSize: number): Float32Array {
  const plain = Float32Array.from({ length: headSize / 2 }, (_, i) => 1 / rope.theta ** ((2 * i) / headSize));
  if (rope.kind === 'default') return plain;
  if (rope.kind === 'linear') return plain.map((frequency) => frequency / rope.factor);
  if (rope.kind === 'yarn') return yarn(plain, rope, headSize);
  // Llama 3: long waves are stretched, short ones stay, and in between it is a blend of both.
  const { factor, lowFactor, highFactor, originalContext } = rope;
  return plain.map((frequency) => {
    const turns = (originalContext * frequency) / (2 * Math.PI);
    const share = Math.min(1, Math.max(0, (turns - lowFactor) / (highFactor - lowFactor)));
    return ((1 - share) * frequency) / factor + share * frequency;
  });
}

/** YaRN (Peng et al. 2023): pairs that turn often keep their frequency, slow ones are interpolated, with a ramp between. */
function yarn(plain: Float32Array, rope: Rope & { kind: 'yarn' }, headSize: number): Float32Array {
  const pairTurning = (turns: number) =>
    (headSize * Math.log(rope.originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(rope.theta));
  const [first, last] = [pairTurning(rope.fast), pairTurning(rope.slow)];
  const low = Math.max(0, rope.truncate ? Math.floor(first) : first);
  let high = Math.min(headSize - 1, rope.truncate ? Math.ceil(last) : last);
  if (low === high) high += 0.001;
  return plain.map((frequency, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
    return (frequency / rope.factor) * ramp + frequency * (1 - ramp);
  });
}

/** Cosines and signed sines of every position, cut into parts of the pairs that turn together. */
export interface RopeTables {
  /** Each [contextLength, width of the part]. */
  readonly cos: readonly tf.Tensor2D[];
  readonly sin: readonly tf.Tensor2D[];
}

/**
 * The tables of every position up to the context length. With three axes (M-RoPE, Wang et al. 2024) the pairs of
 * dimensions are cut into sections, which turn by time, height and width in turn; both halves of a head alike.
 * @param sections pairs per axis; absent with one axis
 */
export function ropeTables(
  rope: Rope,
  headSize: number,
  contextLength: number,
  sections?: readonly number[],
): RopeTables {
  const half = headSize / 2;
  const scale = rope.kind === 'yarn' ? rope.attentionFactor : 1;
  const perPosition = frequencies(rope, headSize);
  const part = (first: number, width: number, value: (angle: number, at: number) => number) => {
    const table = new Float32Array(contextLength * width);
    for (let p = 0; p < contextLength; p++)
      for (let k = 0; k < width; k++) {
        const at = first + k;
        table[p * width + k] = value(Math.fround(p * perPosition[at % half]!), at) * scale;
      }
    return tf.tensor2d(table, [contextLength, width]);
  };
  const widths = sections ? [...sections, ...sections] : [headSize];
  const firsts = widths.map((_, i) => widths.slice(0, i).reduce((sum, width) => sum + width, 0));
  return {
    cos: widths.map((width, i) => part(firsts[i]!, width, (angle) => Math.cos(angle))),
    sin: widths.map((width, i) =>
      part(firsts[i]!, width, (angle, at) => (at < half ? -Math.sin(angle) : Math.sin(angle))),
    ),
  };
}

/**
 * Cosines or sines of tokens, [n, headSize].
 * @param positions [n] int32 per axis, as many axes as there are sections
 */
export function turnsAt(parts: readonly tf.Tensor2D[], positions: readonly tf.Tensor1D[]): tf.Tensor2D {
  const found = parts.map((part, i) => gatherRows(part, positions[i % positions.length]!));
  return found.length === 1 ? found[0]! : (tf.concat(found, 1) as tf.Tensor2D);
}
