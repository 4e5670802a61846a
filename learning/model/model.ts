import type * as tf from '@tensorflow/tfjs';
import type { Tree } from '../tensors/tree.ts';

/** One linear layer that an adapter may attach to, by its Hugging Face module path (no `.weight`). */
export interface AdaptedLayer {
  /** For example `model.language_model.layers.0.mlp.down_proj`, the path that transformers 5 has in memory. */
  readonly name: string;
  /** Input features. */
  readonly in: number;
  /** Output features. */
  readonly out: number;
}

/** How the tokens of a layer's input are made of samples, for adapters that choose something for each sample. */
export interface Rows {
  /** Samples of the batch. */
  readonly count: number;
  /**
   * Mean over the prompt tokens of every sample: x [tokens, in] → [count, in]. In training the prompt ends where the first
   * answer begins. In a projector the tokens are those of the sample's images; 0 where it has none.
   */
  mean(x: tf.Tensor2D): tf.Tensor2D;
  /** To every token what its sample has: values [count, n] → [tokens, n]. */
  spread(values: tf.Tensor2D): tf.Tensor2D;
  /** Every token times the matrix of its sample: x [tokens, a], matrices [count, a, b] → [tokens, b]. */
  times(x: tf.Tensor2D, matrices: tf.Tensor3D): tf.Tensor2D;
  /** What is chosen for a layer, [count, …]: by `choose` where the prompt passes, later what was chosen there. */
  chosen(layer: string, choose: () => tf.Tensor | null): tf.Tensor | null;
}

/** What an adapter does to one linear layer. */
export interface Adapt {
  /**
   * @param layer module path
   * @param x input, [tokens, in]
   * @param base output of the frozen layer, [tokens, out]
   * @param rows samples of the tokens, where `byRows`
   * @returns adapted output, [tokens, out]
   */
  (layer: string, x: tf.Tensor2D, base: tf.Tensor2D, rows?: Rows): tf.Tensor2D;
  /** It wants `rows`, and with them all tokens in every layer. */
  readonly byRows?: boolean;
  /** Learned states before those of every row, [n, width]: the decoder sees them, no loss is taken there (prefix.ts). */
  readonly prefix?: tf.Tensor2D;
  /** What it does to linear layers that are not in `BaseModel.layers`: of the tower, and the head. Absent: nothing. */
  readonly beyond?: Beyond;
  /** What it is in the layers whose paths begin so. There: layers of the decoder are computed again on the way back. */
  readonly part?: (path: string) => AdaptPart;
}

/** As `Adapt`, for frozen layers: x [tokens, in], base [tokens, out] → [tokens, out]. */
export type Beyond = (layer: string, x: tf.Tensor2D, base: tf.Tensor2D) => tf.Tensor2D;

/** The same by names below a path. */
export const beyondBelow = (path: string, beyond: Beyond | undefined): Beyond | undefined =>
  beyond && ((name, x, base) => beyond(`${path}.${name}`, x, base));

/** An adapter in some layers, as a function of what it trains there. */
export interface AdaptPart {
  readonly tensors: readonly tf.Tensor[];
  /** The same adapter with others in place of `tensors`, in their order. */
  with(tensors: readonly tf.Tensor[]): Adapt;
}

/** An adapter that calls another one, and asks for what that one asks for. */
export function around(inner: Adapt, wrap: (inner: Adapt) => Adapt): Adapt {
  const { byRows, prefix, beyond, part } = inner;
  const wrapped = (path: string): AdaptPart => {
    const own = part!(path);
    return { tensors: own.tensors, with: (tensors) => around(own.with(tensors), wrap) };
  };
  const asked = {
    ...(byRows && { byRows }),
    ...(prefix && { prefix }),
    ...(beyond && { beyond }),
    ...(part && { part: wrapped }),
  };
  return Object.assign(wrap(inner), asked);
}

/** The identity: the base model alone. */
export const noAdapter: Adapt = (_layer, _x, base) => base;

/** A padded batch of token rows, on the host. */
export interface TokenBatch {
  /** Number of rows. */
  readonly rows: number;
  /** Tokens per row, padding included. */
  readonly length: number;
  /** [rows * length], row-major. Image positions hold the model's image token. */
  readonly inputIds: Int32Array;
  /** [rows * length]; 1 for real tokens. Padding may stand left or right. */
  readonly attentionMask: Int32Array;
  /** [rows * length]; −100 where a token carries no loss. Absent for generation. */
  readonly labels?: Int32Array;
  /** Height and width of every image in image tokens, in order of appearance; for models that place tokens in space. */
  readonly grids?: ReadonlyArray<readonly [height: number, width: number]>;
}

/** Logits [T, vocabulary] at the places of a batch that carry loss, the tokens [T] there, and what each counts [T]. */
export interface Answers {
  readonly logits: tf.Tensor2D;
  readonly labels: tf.Tensor1D;
  readonly weights: tf.Tensor1D;
}

/** Greedy generation of one row. */
export interface Generated {
  /** New tokens, the end token included when it was reached. */
  readonly ids: number[];
  /** Natural-log probability of each new token. */
  readonly logProbabilities: number[];
}

/** Greedy generation of batch after batch; see `BaseModel.generator`. */
export interface Generator {
  /** @param parameters of the adapter */
  generate(batch: TokenBatch, features: tf.Tensor3D | null, maxNewTokens: number, parameters: Tree): Generated[];
  /** Frees what was compiled. */
  dispose(): void;
}

/**
 * A frozen multimodal language model. Methods that take tensors do not dispose them; returned tensors belong to the
 * caller. All computation is float32.
 */
export interface BaseModel {
  /** The registry name of the family, for example `llava`. */
  readonly family: string;
  /** SHA-256 over the folder's file names and contents. */
  readonly digest: string;
  /** Every linear layer of projector and language model, in the order of computation. */
  readonly layers: readonly AdaptedLayer[];
  /** Longest row of tokens, image tokens included. */
  readonly contextLength: number;
  /** Tokens that end generation. */
  readonly endTokens: readonly number[];
  readonly padToken: number;
  /** The token that stands for one image feature. */
  readonly imageToken: number;

  /**
   * The frozen tower: pixels [n, 3, height, width] → features [rows, tokens, vision width], n pictures one after another.
   * LLaVA gives one row per picture, SmolVLM one per tile, Qwen2-VL one per image token. Features of several pictures are
   * put together along the rows.
   * @param beyond what an adapter does to its linear layers
   */
  encodeImages(pixels: tf.Tensor4D, beyond?: Beyond): tf.Tensor3D;
  /**
   * Logits at chosen positions.
   * @param features of all images of the batch in order of appearance, [rows, tokens, vision width]; null without images
   * @param positions flat row-major indices into [rows * length]; all when absent
   * @returns [positions, vocabulary]
   */
  logits(batch: TokenBatch, features: tf.Tensor3D | null, adapt: Adapt, positions?: Int32Array): tf.Tensor2D;
  /** Last hidden states, after the final norm, of every token: [rows * length, width]. */
  hidden(batch: TokenBatch, features: tf.Tensor3D | null, adapt: Adapt): tf.Tensor2D;
  /** Mean cross-entropy over all tokens of the batch that carry loss (labels shifted by one). Scalar. */
  loss(batch: TokenBatch, features: tf.Tensor3D | null, adapt: Adapt): tf.Scalar;
  /** Checks a batch with labels and puts it into the engine: all that its loss reads. The caller disposes of the tensors. */
  lossInputs(batch: TokenBatch, features: tf.Tensor3D | null): Tree;
  /**
   * The same in parts that a graph computes side by side (`lanes`), all of one shape. The loss of the batch is the sum of their
   * losses, each times its share of the tokens that carry loss.
   */
  lossLanes(batch: TokenBatch, features: tf.Tensor3D | null): ReadonlyArray<{ inputs: Tree; share: number }>;
  /** `loss` of such inputs: a pure function of tensors, fit for `Compiled`. */
  lossOf(inputs: Tree, adapt: Adapt): tf.Scalar;
  /** What `lossOf` compares: logits wherever a token carries loss, and what should be there. Also a pure function. */
  answersOf(inputs: Tree, adapt: Adapt): Answers;
  /** Greedy decoding with a key-value cache, one result per row; stops each row at an end token or `maxNewTokens`. */
  generate(batch: TokenBatch, features: tf.Tensor3D | null, adapt: Adapt, maxNewTokens: number): Generated[];
  /**
   * The same for many batches and adapters of one kind: compiled once per shape.
   * @param adapt a pure function; tensors that it uses without taking them as parameters must stay as they are
   */
  generator(adapt: (parameters: Tree) => Adapt): Generator;
  /** Frees every weight. */
  dispose(): void;
}
