import * as tf from '@tensorflow/tfjs';
import { gradientsWithin } from '../tensors/gradients.ts';
import {
  attention,
  attentionOver,
  gatherRows,
  linear,
  putEntry,
  rmsNorm,
  rotary,
  swiglu,
  withGradient,
} from '../tensors/ops.ts';
import { waitingFor } from '../tensors/record.ts';
import type { Adapt, AdaptedLayer, AdaptPart } from './model.ts';
import type { Rope } from './rope.ts';
import type { Weights } from './weights.ts';

/** A decoder of the LLaMA shape (Touvron et al. 2023): pre-norm, rotary positions, grouped-query attention, SwiGLU. */
export interface DecoderConfig {
  readonly width: number;
  readonly inner: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly vocabulary: number;
  readonly contextLength: number;
  readonly eps: number;
  /** Module path of the decoder, which differs between families. */
  readonly path: string;
  /** Biases on q, k and v. */
  readonly qkvBias: boolean;
  /** Bias on o. */
  readonly outBias: boolean;
  readonly mlpBias: boolean;
  /** The output matrix is the embedding matrix. */
  readonly tied: boolean;
  readonly rope: Rope;
  /** Pairs of dimensions that turn by time, height and width; absent where positions have one axis. */
  readonly ropeSections?: readonly number[];
  /** Per layer how many tokens back a token looks, itself included; null: all. Absent: all, in every layer. */
  readonly windows?: ReadonlyArray<number | null>;
}

/** The linear layers of one decoder layer in the order of computation: name, outputs, inputs, bias. */
function linears(c: DecoderConfig): [string, number, number, boolean][] {
  const queries = c.heads * c.headSize;
  const keys = c.kvHeads * c.headSize;
  return [
    ['self_attn.q_proj', queries, c.width, c.qkvBias],
    ['self_attn.k_proj', keys, c.width, c.qkvBias],
    ['self_attn.v_proj', keys, c.width, c.qkvBias],
    ['self_attn.o_proj', c.width, queries, c.outBias],
    ['mlp.gate_proj', c.inner, c.width, c.mlpBias],
    ['mlp.up_proj', c.inner, c.width, c.mlpBias],
    ['mlp.down_proj', c.width, c.inner, c.mlpBias],
  ];
}

/** The linear layers that adapters may attach to. */
export function decoderLayers(c: DecoderConfig): AdaptedLayer[] {
  return Array.from({ length: c.layers }, (_, i) =>
    linears(c).map(([name, out, input]) => ({ name: `${c.path}.layers.${i}.${name}`, in: input, out })),
  ).flat();
}

/** Every tensor of the decoder and its head, with its shape. */
export function decoderShapes(c: DecoderConfig): [string, number[]][] {
  const layer = (i: number): [string, number[]][] => [
    [`${c.path}.layers.${i}.input_layernorm.weight`, [c.width]],
    [`${c.path}.layers.${i}.post_attention_layernorm.weight`, [c.width]],
    ...linears(c).flatMap(([name, out, input, bias]): [string, number[]][] => [
      [`${c.path}.layers.${i}.${name}.weight`, [out, input]],
      ...(bias ? ([[`${c.path}.layers.${i}.${name}.bias`, [out]]] as [string, number[]][]) : []),
    ]),
  ];
  return [
    [`${c.path}.embed_tokens.weight`, [c.vocabulary, c.width]],
    ...Array.from({ length: c.layers }, (_, i) => layer(i)).flat(),
    [`${c.path}.norm.weight`, [c.width]],
    ...(c.tied ? [] : ([['lm_head.weight', [c.vocabulary, c.width]]] as [string, number[]][])),
  ];
}

/** Whether a weight is a matrix that `linear` and `embedTokens` alone read. */
export function isDecoderMatrix(name: string, { path }: DecoderConfig): boolean {
  if (name === 'lm_head.weight' || name === `${path}.embed_tokens.weight`) return true;
  return name.startsWith(`${path}.layers.`) && name.endsWith('_proj.weight');
}

/** Token embeddings: ids [n] int32 → [n, width]. */
export function embedTokens(ids: tf.Tensor1D, c: DecoderConfig, weights: Weights): tf.Tensor2D {
  return gatherRows(weights(`${c.path}.embed_tokens.weight`) as tf.Tensor2D, ids);
}

/** Keys and values of tokens in one layer, each [rows, kvHeads, tokens, headSize]. */
export type LayerCache = {
  readonly k: tf.Tensor4D;
  readonly v: tf.Tensor4D;
};

/** Keys and values of earlier tokens, one entry per layer. Those of the prompt stay as they are: no later token copies them. */
export interface EarlierTokens {
  readonly prompt: readonly LayerCache[];
  /** After the prompt, with room for later ones. The one token of this pass goes to the place `at`, scalar int32. */
  readonly fresh: readonly LayerCache[];
  readonly at: tf.Scalar;
}

/** What one pass through the decoder needs besides the hidden states. */
export interface Pass {
  readonly rows: number;
  /** Tokens per row in this pass. */
  readonly length: number;
  /** [rows, 1, length, headSize]. */
  readonly cos: tf.Tensor;
  readonly sin: tf.Tensor;
  /** What is added to attention scores, by how many tokens back a layer looks (null: all); see `attentionBias`. */
  readonly bias: (window: number | null) => tf.Tensor4D;
  /** Flat positions whose final state is wanted, each once; all when absent. The last layer computes only these. */
  readonly wanted?: tf.Tensor1D;
  /** For a pass of one token a row. */
  readonly past?: EarlierTokens;
  /** Called with the keys and values of every layer: of this pass, or of all tokens after the prompt. */
  readonly onCache?: (layer: number, cache: LayerCache) => void;
  /** Called with every hidden state, for tests and diagnosis. */
  readonly onState?: (name: string, state: tf.Tensor2D) => void;
}

/** All layers and the final norm: x [rows * length, width] → [wanted or rows * length, width]. */
export function decode(x: tf.Tensor2D, c: DecoderConfig, weights: Weights, adapt: Adapt, pass: Pass): tf.Tensor2D {
  let state = x;
  for (let i = 0; i < c.layers; i++) {
    const layer = (x: tf.Tensor2D, own: Adapt, pass: Pass) => decoderLayer(x, i, c, weights, own, pass);
    state = adapt.part
      ? computedAgain(state, adapt.part(`${c.path}.layers.${i}.`), pass, c.windows?.[i] ?? null, layer)
      : layer(state, adapt, pass);
    pass.onState?.(`layer_${i}`, state);
  }
  if (c.layers === 0 && pass.wanted) state = gatherRows(state, pass.wanted);
  return rmsNorm(state, weights(`${c.path}.norm.weight`), c.eps);
}

/** The module path of the head. */
export const HEAD = 'lm_head';

/** Logits of final states: [n, width] → [n, vocabulary]. */
export function head(states: tf.Tensor2D, c: DecoderConfig, weights: Weights, { beyond }: Adapt): tf.Tensor2D {
  const logits = linear(states, weights(c.tied ? `${c.path}.embed_tokens.weight` : `${HEAD}.weight`));
  return beyond ? beyond(HEAD, states, logits) : logits;
}

/**
 * A layer of which only the input is kept for the way back (Chen et al. 2016, arXiv 1604.06174): there it is computed once
 * more, when its gradient has come, and everything of it is freed before the next layer.
 */
function computedAgain(
  x: tf.Tensor2D,
  part: AdaptPart,
  pass: Pass,
  window: number | null,
  layer: (x: tf.Tensor2D, adapt: Adapt, pass: Pass) => tf.Tensor2D,
): tf.Tensor2D {
  const bias = pass.bias(window);
  const tables = [pass.cos, pass.sin, bias, ...(pass.wanted ? [pass.wanted] : [])];
  return withGradient([x, ...part.tensors], (...inputs) => ({
    value: tf.tidy(() => layer(inputs[0] as tf.Tensor2D, part.with(inputs.slice(1)), { ...pass, bias: () => bias })),
    // Tables of the pass are gone by then, but for these.
    save: [...tables, ...inputs],
    gradient: (dy, saved) => {
      const [cos, sin, bias, wanted] = saved.slice(0, tables.length);
      const inputs = saved.slice(tables.length);
      const again = {
        ...{ ...pass, cos: cos!, sin: sin!, bias: () => bias as tf.Tensor4D },
        ...(wanted && { wanted: wanted as tf.Tensor1D }),
      };
      const compute = (x: tf.Tensor, ...own: tf.Tensor[]) => layer(x as tf.Tensor2D, part.with(own), again);
      return waitingFor(dy, () => gradientsWithin(compute, inputs, dy));
    },
  }));
}

function decoderLayer(
  x: tf.Tensor2D,
  index: number,
  c: DecoderConfig,
  weights: Weights,
  adapt: Adapt,
  pass: Pass,
): tf.Tensor2D {
  const path = `${c.path}.layers.${index}`;
  const dense = (name: string, input: tf.Tensor2D, bias: boolean) => {
    const layer = `${path}.${name}`;
    return adapt(layer, input, linear(input, weights(`${layer}.weight`), bias ? weights(`${layer}.bias`) : undefined));
  };
  const split = (t: tf.Tensor2D, heads: number) =>
    tf.transpose(tf.reshape(t, [pass.rows, pass.length, heads, c.headSize]), [0, 2, 1, 3]) as tf.Tensor4D;

  const h = rmsNorm(x, weights(`${path}.input_layernorm.weight`), c.eps);
  const q = rotary(split(dense('self_attn.q_proj', h, c.qkvBias), c.heads), pass.cos, pass.sin);
  const k = rotary(split(dense('self_attn.k_proj', h, c.qkvBias), c.kvHeads), pass.cos, pass.sin);
  const v = split(dense('self_attn.v_proj', h, c.qkvBias), c.kvHeads);
  const bias = pass.bias(c.windows?.[index] ?? null);
  const own = pass.past ? withToken(pass.past, index, { k, v }) : { k, v };
  pass.onCache?.(index, own);
  const values = pass.past ? attentionOver(q, [pass.past.prompt[index]!, own], bias) : attention(q, own.k, own.v, bias);
  const mixed = tf.transpose(values, [0, 2, 1, 3]);
  let seen = tf.reshape(mixed, [pass.rows * pass.length, c.heads * c.headSize]) as tf.Tensor2D;
  let residual = x;
  if (pass.wanted && index === c.layers - 1) {
    // Later computation is row by row: only the rows that are asked for need it.
    seen = gatherRows(seen, pass.wanted);
    residual = gatherRows(residual, pass.wanted);
  }
  const y = tf.add(residual, dense('self_attn.o_proj', seen, c.outBias)) as tf.Tensor2D;
  const h2 = rmsNorm(y, weights(`${path}.post_attention_layernorm.weight`), c.eps);
  const inner = swiglu(dense('mlp.gate_proj', h2, c.mlpBias), dense('mlp.up_proj', h2, c.mlpBias));
  return tf.add(y, dense('mlp.down_proj', inner, c.mlpBias)) as tf.Tensor2D;
}

/** The tokens after the prompt in one layer, with one more. */
function withToken({ fresh, at }: EarlierTokens, layer: number, { k, v }: LayerCache): LayerCache {
  return { k: putEntry(fresh[layer]!.k, k, at), v: putEntry(fresh[layer]!.v, v, at) };
}
