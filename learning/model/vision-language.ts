import * as tf from '@tensorflow/tfjs';
import { laneParts } from '../tensors/backend.ts';
import { Compiled } from '../tensors/compile.ts';
import { attentionBias, gatherRows, putRows } from '../tensors/ops.ts';
import { type Tree, tensorsOf, tidied } from '../tensors/tree.ts';
import {
  type BatchTensors,
  batchTargets,
  batchTensors,
  imageTokensOf,
  lossOfAnswers,
  padLeft,
  placesWithLoss,
  roundUp,
  rowsOf,
  type Targets,
} from './batch.ts';
import type { Answering } from './config.ts';
import { type DecoderConfig, decode, decoderLayers, embedTokens, head, type LayerCache, type Pass } from './decoder.ts';
import { chosenBy, greedy, nextOf, type Past, type PromptStep, type Step, together } from './generate.ts';
import type { Adapt, AdaptedLayer, Answers, BaseModel, Beyond, Generated, Generator, TokenBatch } from './model.ts';
import { type Positions, plainPositions, spatialPositions } from './positions.ts';
import { afterPrefix, checkPrefix, keysAfter, placesAfter, prefixed, withoutPrefix } from './prefix.ts';
import { type RopeTables, ropeTables, turnsAt } from './rope.ts';
import { imageRows, nextRows, onRows, promptRows, type Routes } from './rows.ts';
import type { Weights } from './weights.ts';

/** What every family's configuration holds. */
export interface LanguageConfig extends Answering {
  readonly decoder: DecoderConfig;
  readonly imageToken: number;
}

/** What a family adds to the decoder: how pictures become states of the language model. */
export interface Eye {
  /** The linear layers of the projector, in the order of computation. */
  readonly layers: readonly AdaptedLayer[];
  /** Image tokens that features of this shape, [rows, tokens, vision width], make. */
  imageTokens(shape: readonly [rows: number, tokens: number, width: number]): number;
  /** As `BaseModel.encodeImages`; `BadConfig` for pictures of a size that the tower does not take. */
  encode(pixels: tf.Tensor4D, beyond?: Beyond): tf.Tensor3D;
  /** The projector: features [rows, tokens, vision width] → [image tokens, width]. */
  project(features: tf.Tensor3D, adapt: Adapt): tf.Tensor2D;
}

/** What the loss reads. A type, not an interface, so that it is a `Tree`. */
type LossInputs = { batch: BatchTensors; targets: Targets; features: tf.Tensor3D | null };

/** What the first pass of generation reads, in parts that are computed side by side. */
type PromptInputs = ReadonlyArray<{ batch: BatchTensors; features: tf.Tensor3D | null }>;

/** What every later pass reads: last tokens [rows], their positions [rows], the place of the new token among the keys. */
type TokenInputs = Past & {
  ids: tf.Tensor1D;
  positions: tf.Tensor1D;
  slot: tf.Scalar;
  /** [rows, 1, 1, tokens of the prompt and room after it]: 0 for padding of the prompt. */
  keys: tf.Tensor4D;
};

/** A decoder that reads text and pictures: a `BaseModel` of any family. It does not own its weights. */
export class VisionLanguageModel implements BaseModel {
  readonly family: string;
  readonly digest: string;
  readonly config: LanguageConfig;
  readonly layers: readonly AdaptedLayer[];
  private readonly eye: Eye;
  private readonly weights: Weights;
  private rope: RopeTables | null = null;

  constructor(family: string, config: LanguageConfig, eye: Eye, weights: Weights, digest: string) {
    this.family = family;
    this.config = config;
    this.eye = eye;
    this.weights = weights;
    this.digest = digest;
    this.layers = [...eye.layers, ...decoderLayers(config.decoder)];
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

  encodeImages(pixels: tf.Tensor4D, beyond?: Beyond): tf.Tensor3D {
    return tf.tidy(() => this.eye.encode(pixels, beyond));
  }

  /** The projector: features → [image tokens, width]. */
  project(features: tf.Tensor3D, adapt: Adapt): tf.Tensor2D {
    return this.eye.project(features, adapt);
  }

  /** Checks a batch and puts it into the engine. @param rows of features, with fillers after them */
  inputs(batch: TokenBatch, features: tf.Tensor3D | null, rows = features?.shape[0]): BatchTensors {
    const { vocabulary, contextLength } = this.config.decoder;
    const limits = { imageToken: this.imageToken, contextLength, vocabulary };
    const tokens = (count = 0) => (features ? this.eye.imageTokens([count, features.shape[1], features.shape[2]]) : 0);
    const positions = () => this.positions(batch);
    return batchTensors(batch, tokens(features?.shape[0]), limits, positions, tokens(rows));
  }

  private positions(batch: TokenBatch): Positions {
    return this.config.decoder.ropeSections ? spatialPositions(batch, this.imageToken) : plainPositions(batch);
  }

  /** States after the final norm, [wanted or rows * length, width]. */
  states(
    inputs: BatchTensors,
    features: tf.Tensor3D | null,
    adapt: Adapt,
    options: Pick<Pass, 'wanted' | 'onCache' | 'onState'> & { readonly onRoutes?: (routes: Routes) => void } = {},
  ): tf.Tensor2D {
    const { decoder } = this.config;
    let x = embedTokens(inputs.ids, decoder, this.weights);
    const { rows, length, keys, prompt, images } = inputs;
    if (images && features) {
      const projected = this.project(
        features,
        onRows(adapt, () => imageRows(inputs, images.at)),
      );
      x = putRows(x, projected, images.at, images.text);
    }
    const { onRoutes, wanted, ...more } = options;
    const { prefix } = adapt;
    if (prefix) {
      checkPrefix(prefix, decoder);
      x = prefixed(x, prefix, rows);
    }
    const tokens = { length, keys, prompt, ...this.turns(inputs.positions, rows, length) };
    const seen = prefix ? afterPrefix(tokens, prefix.shape[0], this.ropeOnce()) : tokens;
    const at = prefix && wanted ? placesAfter(wanted, length, prefix.shape[0]) : wanted;
    options.onState?.('inputs_embeds', x);
    // An adapter that chooses by the whole prompt sees it in the last layer too.
    const texts = adapt.byRows ? promptRows({ rows, ...seen }) : null;
    const { cos, sin } = seen;
    const pass = { rows, length: seen.length, cos, sin, bias: biases(seen.keys, null), ...more };
    const chosen = texts ? onRows(adapt, () => texts) : adapt;
    const states = decode(x, decoder, this.weights, chosen, { ...pass, ...(at && !texts && { wanted: at }) });
    if (texts) onRoutes?.(texts.made);
    if (at) return texts ? gatherRows(states, at) : states;
    return prefix ? withoutPrefix(states, prefix.shape[0], rows) : states;
  }

  lossInputs(batch: TokenBatch, features: tf.Tensor3D | null): LossInputs {
    this.ropeOnce();
    return { ...this.filled(batch, features), targets: batchTargets(batch) };
  }

  lossLanes(batch: TokenBatch, features: tf.Tensor3D | null): Array<{ inputs: LossInputs; share: number }> {
    this.ropeOnce();
    const lanes = this.lanesOf(batch, features).map((lane) => ({ ...lane, places: placesWithLoss(lane.batch).length }));
    const carrying = lanes.filter(({ places }) => places > 0);
    const most = Math.max(...carrying.map(({ places }) => places));
    const all = carrying.reduce((sum, { places }) => sum + places, 0);
    return carrying.map(({ batch, features, rows, places }) => ({
      inputs: { ...this.filled(batch, features, rows), targets: batchTargets(batch, most) },
      share: places / all,
    }));
  }

  /** Parts of a batch for the lanes of a graph, and how many rows the features of the largest part have. */
  private lanesOf(batch: TokenBatch, features: tf.Tensor3D | null) {
    const whole = [{ batch, features, rows: features?.shape[0] ?? 0 }];
    const parts = laneParts(Array.from({ length: batch.rows }, (_, row) => row));
    if (parts.length === 1) return whole;
    const batches = parts.map((rows) => rowsOf(batch, rows[0]!, rows.at(-1)! + 1, this.imageToken));
    if (!features) return batches.map((own) => ({ batch: own, features, rows: 0 }));
    const tokens = this.eye.imageTokens([1, features.shape[1], features.shape[2]]);
    const counts = batches.map(({ inputIds }) => imageTokensOf(inputIds, this.imageToken) / tokens);
    // Pictures that do not fit the tokens: `inputs` of the whole says so.
    if (!counts.every(Number.isInteger) || counts.reduce((a, b) => a + b) !== features.shape[0]) return whole;
    const starts = counts.map((_, i) => counts.slice(0, i).reduce((a, b) => a + b, 0));
    return batches.map((own, i) => ({
      batch: own,
      features: counts[i] ? tf.slice(features, starts[i]!, counts[i]) : null,
      rows: Math.max(...counts),
    }));
  }

  /**
   * A batch whose features are filled up, so that batches share shapes, and with them graphs, whatever their images' sizes.
   * @param least rows to fill up to
   */
  private filled(batch: TokenBatch, features: tf.Tensor3D | null, least = 0) {
    if (!features) return { batch: this.inputs(batch, null), features };
    const rows = roundUp(Math.max(features.shape[0], least), 8);
    const fill = tf.zeros<tf.Rank.R3>([rows - features.shape[0], features.shape[1], features.shape[2]]);
    return { batch: this.inputs(batch, features, rows), features: tf.concat([features, fill]) as tf.Tensor3D };
  }

  lossOf(inputs: LossInputs, adapt: Adapt): tf.Scalar {
    return lossOfAnswers(this.answersOf(inputs, adapt));
  }

  answersOf({ batch, targets, features }: LossInputs, adapt: Adapt): Answers {
    const states = this.states(batch, features, adapt, { wanted: targets.at });
    return { ...targets, logits: head(states, this.config.decoder, this.weights, adapt) };
  }

  logits(batch: TokenBatch, features: tf.Tensor3D | null, adapt: Adapt, positions?: Int32Array): tf.Tensor2D {
    return tf.tidy(() => {
      const inputs = this.inputs(batch, features);
      if (!positions) return head(this.states(inputs, features, adapt), this.config.decoder, this.weights, adapt);
      const wanted = tf.tensor1d(positions, 'int32');
      return head(this.states(inputs, features, adapt, { wanted }), this.config.decoder, this.weights, adapt);
    });
  }

  hidden(batch: TokenBatch, features: tf.Tensor3D | null, adapt: Adapt): tf.Tensor2D {
    return tf.tidy(() => this.states(this.inputs(batch, features), features, adapt));
  }

  loss(batch: TokenBatch, features: tf.Tensor3D | null, adapt: Adapt): tf.Scalar {
    return tf.tidy(() => this.lossOf(this.lossInputs(batch, features), adapt));
  }

  generate(batch: TokenBatch, features: tf.Tensor3D | null, adapt: Adapt, maxNewTokens: number): Generated[] {
    this.ropeOnce();
    // The prompt passes once: recording it would cost as much again.
    const prefill = (inputs: PromptInputs) => tidied(() => this.prefill(inputs, adapt));
    const next = new Compiled((inputs: TokenInputs) => this.oneToken(inputs, adapt));
    try {
      return this.answers(batch, features, maxNewTokens, prefill, (inputs) => next.run(inputs));
    } finally {
      next.dispose();
    }
  }

  generator(adapt: (parameters: Tree) => Adapt): Generator {
    this.ropeOnce();
    const prefill = new Compiled(([inputs, parameters]: [PromptInputs, Tree]) =>
      this.prefill(inputs, adapt(parameters)),
    );
    const next = new Compiled(([inputs, parameters]: [TokenInputs, Tree]) => this.oneToken(inputs, adapt(parameters)));
    return {
      generate: (batch, features, maxNewTokens, parameters) =>
        this.answers(
          batch,
          features,
          maxNewTokens,
          (inputs) => prefill.run([inputs, parameters]),
          (inputs) => next.run([inputs, parameters]),
        ),
      dispose: () => {
        prefill.dispose();
        next.dispose();
      },
    };
  }

  private answers(
    batch: TokenBatch,
    features: tf.Tensor3D | null,
    maxNewTokens: number,
    prefill: (inputs: PromptInputs) => PromptStep,
    next: (inputs: TokenInputs) => Step,
  ): Generated[] {
    const prompt = padLeft(batch, this.padToken, (longest) => roundUp(longest, 8));
    const { rows, length, attentionMask } = prompt;
    const lengths = Array.from({ length: rows }, (_, row) =>
      attentionMask.subarray(row * length, (row + 1) * length).reduce((sum, one) => sum + one, 0),
    );
    const { next: first } = this.positions(prompt);
    const capacity = length + maxNewTokens;
    const { contextLength, endTokens } = this;
    const { generation } = this.config;
    return greedy({
      ...(generation && { choose: chosenBy(generation, prompt, endTokens, maxNewTokens) }),
      rows,
      maxNewTokens,
      lengths,
      endTokens,
      contextLength,
      prefill: () => {
        const inputs = tidied(() =>
          this.lanesOf(prompt, features).map((lane) => this.filled(lane.batch, lane.features, lane.rows)),
        );
        const step = prefill(inputs);
        tf.dispose(tensorsOf(inputs));
        return step;
      },
      room: (prompt) => {
        const empty = ({ shape: [rows, heads, , size] }: tf.Tensor4D) =>
          tf.zeros([rows, heads, maxNewTokens, size]) as tf.Tensor4D;
        return prompt.map(({ k, v }) => ({ k: empty(k), v: empty(v) }));
      },
      next: (ids, live, past, step) => {
        const padding = new Float32Array(live.length * capacity).fill(1);
        for (const [i, row] of live.entries()) padding.fill(0, i * capacity, i * capacity + length - lengths[row]!);
        // A row that has ended computes on without a meaning until it leaves: it must stay within the tables.
        const positions = live.map((row) => Math.min(first[row]! + step - 1, contextLength - 1));
        const inputs = {
          ids: tf.tensor1d(ids, 'int32'),
          positions: tf.tensor1d(positions, 'int32'),
          slot: tf.scalar(length + step - 1, 'int32'),
          keys: tf.tensor4d(padding, [live.length, 1, 1, capacity]),
        };
        const result = next({ ...inputs, ...past });
        tf.dispose(Object.values(inputs));
        return result;
      },
    });
  }

  /** The first new token of every row, and what later ones need of the prompt. */
  private prefill(lanes: PromptInputs, adapt: Adapt): PromptStep {
    return together(lanes.map(({ batch, features }) => this.prefillLane(batch, features, adapt)));
  }

  private prefillLane(inputs: BatchTensors, features: tf.Tensor3D | null, adapt: Adapt): PromptStep {
    const { rows, length } = inputs;
    const prompt: LayerCache[] = [];
    const onCache = (_: number, entry: LayerCache) => void prompt.push(entry);
    const wanted = tf.range(length - 1, rows * length, length, 'int32');
    let routes: Routes = {};
    const onRoutes = (made: Routes) => {
      routes = made;
    };
    const states = this.states(inputs, features, adapt, { wanted, onCache, onRoutes });
    return { next: this.nextOf(states, adapt), prompt, routes };
  }

  /** One new token per row after what the cache holds. */
  private oneToken({ ids, positions, slot, keys, routes, ...past }: TokenInputs, adapt: Adapt): Step {
    const { decoder } = this.config;
    const fresh: LayerCache[] = [];
    const before = past.prompt[0]?.k.shape[2] ?? 0;
    const count = adapt.prefix?.shape[0] ?? 0;
    const own = count > 0 ? (tf.add(slot, tf.scalar(count, 'int32')) as tf.Scalar) : slot;
    const x = embedTokens(ids, decoder, this.weights);
    const pass: Pass = {
      rows: ids.shape[0],
      length: 1,
      ...this.turns([positions, positions, positions], ids.shape[0], 1),
      bias: biases(count > 0 ? keysAfter(keys, count) : keys, own),
      past: { ...past, at: tf.sub(own, tf.scalar(before, 'int32')) },
      onCache: (_, entry) => void fresh.push(entry),
    };
    const routed = onRows(adapt, () => nextRows(ids.shape[0], routes));
    const states = decode(x, decoder, this.weights, routed, pass);
    return { next: this.nextOf(states, adapt), fresh };
  }

  private nextOf(states: tf.Tensor2D, adapt: Adapt) {
    return nextOf(head(states, this.config.decoder, this.weights, adapt), this.config.generation !== null);
  }

  /** Cosines and sines for positions, each [rows, 1, length, headSize]. */
  private turns(positions: readonly tf.Tensor1D[], rows: number, length: number): { cos: tf.Tensor; sin: tf.Tensor } {
    const { cos, sin } = this.ropeOnce();
    const shape = [rows, 1, length, this.config.decoder.headSize];
    return { cos: tf.reshape(turnsAt(cos, positions), shape), sin: tf.reshape(turnsAt(sin, positions), shape) };
  }

  private ropeOnce(): RopeTables {
    const { rope, headSize, contextLength, ropeSections } = this.config.decoder;
    this.rope ??= tf.tidy(() => {
      const tables = ropeTables(rope, headSize, contextLength, ropeSections);
      for (const table of [...tables.cos, ...tables.sin]) tf.keep(table);
      return tables as unknown as tf.TensorContainer;
    }) as unknown as RopeTables;
    return this.rope;
  }

  dispose(): void {
    if (this.rope) tf.dispose([...this.rope.cos, ...this.rope.sin]);
    this.rope = null;
  }
}

/** The bias of every layer of one pass, made once per width of window. */
function biases(keys: tf.Tensor4D, query: tf.Scalar | null): Pass['bias'] {
  const made = new Map<number | null, tf.Tensor4D>();
  return (window) => {
    if (!made.has(window)) made.set(window, attentionBias(keys, query, window));
    return made.get(window)!;
  };
}
