import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../../core/errors.ts';
import { ACTIVATIONS } from '../../tensors/activations.ts';
import { attentionBias, crossEntropy, gatherRows, linear, putRows } from '../../tensors/ops.ts';
import { type BatchTensors, batchTargets, batchTensors, padLeft, type Targets } from '../batch.ts';
import {
  decode,
  decoderLayers,
  decoderShapes,
  embedTokens,
  head,
  type LayerCache,
  type Pass,
  ropeTables,
} from '../decoder.ts';
import { greedy, type Step } from '../generate.ts';
import type { Adapt, AdaptedLayer, BaseModel, Generated, TokenBatch } from '../model.ts';
import type { Family } from '../registry.ts';
import type { Shapes, Weights } from '../weights.ts';
import { type LlavaConfig, llavaConfig } from './config.ts';
import { visionFeatures, visionShapes, visionUnused } from './vision.ts';

const PROJECTOR = 'model.multi_modal_projector';

/** LLaVA-1.5 (Liu et al. 2023): a CLIP tower, a projector of two layers, a LLaMA decoder. */
export const llava: Family<LlavaConfig> = {
  name: 'llava',
  config: llavaConfig,
  shapes: llavaShapes,
  unused: (name, config) => visionUnused(name, config.vision),
  // With tied weights the file may repeat the embedding as the head; the embedding counts, as in transformers.
  allowed: (name, config) => name === 'lm_head.weight' && config.decoder.tied,
  build: (config, weights, digest) => new LlavaModel(config, weights, digest),
};

function llavaShapes(c: LlavaConfig): Shapes {
  const dense = (name: string, input: number): [string, number[]][] => [
    [`${PROJECTOR}.${name}.weight`, [c.decoder.width, input]],
    ...(c.projector.bias ? ([[`${PROJECTOR}.${name}.bias`, [c.decoder.width]]] as [string, number[]][]) : []),
  ];
  return new Map([
    ...visionShapes(c.vision),
    ...dense('linear_1', c.vision.width),
    ...dense('linear_2', c.decoder.width),
    ...decoderShapes(c.decoder),
  ]);
}

/** What the loss reads. A type, not an interface, so that it is a `Tree`. */
type LossInputs = { batch: BatchTensors; targets: Targets; features: tf.Tensor3D | null };

/** The LLaVA-1.5 family as a `BaseModel`. It does not own its weights. */
export class LlavaModel implements BaseModel {
  readonly family = 'llava';
  readonly digest: string;
  readonly config: LlavaConfig;
  readonly layers: readonly AdaptedLayer[];
  private readonly weights: Weights;
  private rope: { cos: tf.Tensor2D; sin: tf.Tensor2D } | null = null;

  constructor(config: LlavaConfig, weights: Weights, digest: string) {
    this.config = config;
    this.weights = weights;
    this.digest = digest;
    const { width } = config.decoder;
    this.layers = [
      { name: `${PROJECTOR}.linear_1`, in: config.vision.width, out: width },
      { name: `${PROJECTOR}.linear_2`, in: width, out: width },
      ...decoderLayers(config.decoder),
    ];
  }

  get contextLength(): number {
    return this.config.decoder.contextLength;
  }

  get endTokens(): readonly number[] {
    return this.config.endTokens;
  }

  get padToken(): number {
    return this.config.padToken;
  }

  get imageToken(): number {
    return this.config.imageToken;
  }

  get tokensPerImage(): number {
    return this.config.tokensPerImage;
  }

  encodeImages(pixels: tf.Tensor4D): tf.Tensor3D {
    const { imageSize } = this.config.vision;
    const [images, ...rest] = pixels.shape;
    if (rest.join() !== `3,${imageSize},${imageSize}`) {
      const problem = `Pixels [${images},${rest}], but the model takes [n,3,${imageSize},${imageSize}]`;
      throw new LiloraError('BadConfig', `${problem}. Use the image processor of this model.`);
    }
    return tf.tidy(() => visionFeatures(pixels, this.config.vision, this.weights));
  }

  /** The projector: features [images, tokens, vision width] → [images * tokens, width]. */
  project(features: tf.Tensor3D, adapt: Adapt): tf.Tensor2D {
    const dense = (name: string, x: tf.Tensor2D) => {
      const layer = `${PROJECTOR}.${name}`;
      const bias = this.config.projector.bias ? this.weights(`${layer}.bias`) : undefined;
      return adapt(layer, x, linear(x, this.weights(`${layer}.weight`), bias));
    };
    const x = tf.reshape(features, [-1, this.config.vision.width]) as tf.Tensor2D;
    return dense('linear_2', ACTIVATIONS[this.config.projector.activation]!(dense('linear_1', x)));
  }

  /** Checks a batch and puts it into the engine. */
  inputs(batch: TokenBatch, features: tf.Tensor3D | null): BatchTensors {
    const { imageToken, tokensPerImage, contextLength } = this;
    const limits = { imageToken, tokensPerImage, contextLength, vocabulary: this.config.decoder.vocabulary };
    return batchTensors(batch, features?.shape[0] ?? 0, limits);
  }

  /** States after the final norm, [wanted or rows * length, width]. */
  states(
    inputs: BatchTensors,
    features: tf.Tensor3D | null,
    adapt: Adapt,
    options: Pick<Pass, 'wanted' | 'onCache' | 'onState'> = {},
  ): tf.Tensor2D {
    const { decoder } = this.config;
    let x = embedTokens(inputs.ids, this.weights);
    if (inputs.images && features) {
      x = putRows(x, this.project(features, adapt), inputs.images.at, inputs.images.text);
    }
    options.onState?.('inputs_embeds', x);
    const { rows, length } = inputs;
    const bias = attentionBias(inputs.keys, true);
    const pass = { rows, length, ...this.turns(inputs.positions, rows, length), bias, ...options };
    return decode(x, decoder, this.weights, adapt, pass);
  }

  lossInputs(batch: TokenBatch, features: tf.Tensor3D | null): LossInputs {
    this.ropeOnce();
    return { batch: this.inputs(batch, features), targets: batchTargets(batch), features };
  }

  lossOf(inputs: LossInputs, adapt: Adapt): tf.Scalar {
    const { batch, targets, features } = inputs;
    const states = this.states(batch, features, adapt, { wanted: targets.at });
    const losses = crossEntropy(head(states, this.config.decoder, this.weights), targets.labels);
    return tf.sum(tf.mul(losses, targets.weights));
  }

  logits(batch: TokenBatch, features: tf.Tensor3D | null, adapt: Adapt, positions?: Int32Array): tf.Tensor2D {
    return tf.tidy(() => {
      const inputs = this.inputs(batch, features);
      if (!positions) return head(this.states(inputs, features, adapt), this.config.decoder, this.weights);
      const wanted = tf.tensor1d(positions, 'int32');
      return head(this.states(inputs, features, adapt, { wanted }), this.config.decoder, this.weights);
    });
  }

  loss(batch: TokenBatch, features: tf.Tensor3D | null, adapt: Adapt): tf.Scalar {
    return tf.tidy(() => this.lossOf(this.lossInputs(batch, features), adapt));
  }

  generate(batch: TokenBatch, features: tf.Tensor3D | null, adapt: Adapt, maxNewTokens: number): Generated[] {
    const prompt = padLeft(batch, this.padToken);
    const { rows, length, attentionMask } = prompt;
    const lengths = Array.from({ length: rows }, (_, row) =>
      attentionMask.subarray(row * length, (row + 1) * length).reduce((sum, one) => sum + one, 0),
    );
    return greedy({
      rows,
      maxNewTokens,
      lengths,
      endTokens: this.endTokens,
      contextLength: this.contextLength,
      prefill: () => {
        const cache: LayerCache[] = [];
        const wanted = tf.range(length - 1, rows * length, length, 'int32');
        const onCache = (_: number, entry: LayerCache) => void cache.push(entry);
        const states = this.states(this.inputs(prompt, features), features, adapt, { wanted, onCache });
        return { logits: head(states, this.config.decoder, this.weights), cache };
      },
      next: (ids, positions, live, past, step) => {
        const keys = new Float32Array(live.length * (length + step)).fill(1);
        for (const [i, row] of live.entries()) {
          keys.fill(0, i * (length + step), i * (length + step) + length - lengths[row]!);
        }
        return this.oneToken(ids, positions, tf.tensor4d(keys, [live.length, 1, 1, length + step]), past, adapt);
      },
    });
  }

  /** One new token per row after what the cache holds. */
  private oneToken(
    ids: number[],
    positions: number[],
    keys: tf.Tensor4D,
    past: readonly LayerCache[],
    adapt: Adapt,
  ): Step {
    const { decoder } = this.config;
    const cache: LayerCache[] = [];
    const x = embedTokens(tf.tensor1d(ids, 'int32'), this.weights);
    const turns = this.turns(tf.tensor1d(positions, 'int32'), ids.length, 1);
    const onCache = (_: number, entry: LayerCache) => void cache.push(entry);
    const pass: Pass = { rows: ids.length, length: 1, ...turns, bias: attentionBias(keys, false), past, onCache };
    return { logits: head(decode(x, decoder, this.weights, adapt, pass), decoder, this.weights), cache };
  }

  /** Cosines and sines for positions [rows * length], each [rows, 1, length, headSize]. */
  private turns(positions: tf.Tensor1D, rows: number, length: number): { cos: tf.Tensor; sin: tf.Tensor } {
    const { cos, sin } = this.ropeOnce();
    const shape = [rows, 1, length, this.config.decoder.headSize];
    const at = (table: tf.Tensor2D) => tf.reshape(gatherRows(table, positions), shape);
    return { cos: at(cos), sin: at(sin) };
  }

  private ropeOnce(): { cos: tf.Tensor2D; sin: tf.Tensor2D } {
    this.rope ??= tf.tidy(() => {
      const tables = ropeTables(this.config.decoder);
      return { cos: tf.keep(tables.cos), sin: tf.keep(tables.sin) };
    });
    return this.rope;
  }

  dispose(): void {
    tf.dispose([this.rope?.cos, this.rope?.sin].filter((t) => t !== undefined));
    this.rope = null;
  }
}
