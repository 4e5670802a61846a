import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import { quantized } from '../../core/model-folder.ts';
import { type ModelTensors, openModelTensors } from '../../core/model-tensors.ts';
import { type Dtype, toFloat32 } from '../../core/safetensors.ts';
import { canBeHalf, type HalfType, halfMatrix } from '../tensors/half.ts';
import type { NativeBackend } from '../tensors/record.ts';

/** Weights by canonical name: the parameter path that transformers 5 has in memory, such as `lm_head.weight`. */
export type Weights = (name: string) => tf.Tensor;

/** Canonical name → shape, in the order of computation. */
export type Shapes = ReadonlyMap<string, readonly number[]>;

/** Buffers that old checkpoints carry along; they are computed, not read. */
const BUFFERS = /(^|\.)(rotary(_pos)?_emb\.(original_)?(inv_freq|cos_cached|sin_cached)|position_ids)$/;

/** Tensors that only quantized weights have beside them. */
const SCALES =
  /\.(qweight|qzeros|g_idx|SCB|absmax|quant_map|weight_packed|weight_(zero_point|scale(_inv)?)|weight\.(absmax|quant_.+))$/;

/** Types of numbers that weights are computed from. */
const FLOATS: ReadonlySet<string> = new Set<Dtype>(['F64', 'F32', 'F16', 'BF16']);

/** Weights on the engine under a common owner. */
export class WeightSet {
  private readonly tensors: Map<string, tf.Tensor>;

  constructor(tensors: Map<string, tf.Tensor>) {
    this.tensors = tensors;
  }

  readonly get: Weights = (name) => {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new LiloraError('BadModel', `No weight ${JSON.stringify(name)} was given. Add it.`);
    return tensor;
  };

  dispose(): void {
    for (const tensor of this.tensors.values()) tensor.dispose();
    this.tensors.clear();
  }
}

/**
 * Reads the weights of a model folder into the engine, tensor by tensor. Missing, unknown and wrongly shaped tensors
 * are one `BadModel` that names them.
 * @param shapes every tensor the folder must hold
 * @param canonicalName the canonical name of a tensor in a file
 * @param unused tensors of `shapes` that no computation reads; they are checked but not loaded
 * @param allowed further canonical names that may be there and are not read
 * @param halves tensors that stay in 16 bits a number where their file has them so
 */
export async function readWeights(
  folder: string,
  shapes: Shapes,
  canonicalName: (name: string) => string,
  unused: (name: string) => boolean,
  allowed: (name: string) => boolean,
  halves: (name: string) => boolean,
): Promise<WeightSet> {
  const files = await openModelTensors(folder);
  const loaded = new Map<string, tf.Tensor>();
  try {
    const places = new Map<string, string>();
    const problems: string[] = [];
    refuseQuantized(files, folder, (name) => shapes.has(canonicalName(name)));
    for (const name of files.names()) {
      const canonical = canonicalName(name);
      if (places.has(canonical)) problems.push(`${name} and ${places.get(canonical)} are the same weight`);
      const shape = shapes.get(canonical);
      if (!shape && !allowed(canonical) && !BUFFERS.test(name)) problems.push(`${name} is not part of this model`);
      const found = files.info(name).shape;
      if (shape && shape.join() !== found.join()) problems.push(`${name} is [${found}], but [${shape}] is needed`);
      places.set(canonical, name);
    }
    for (const name of shapes.keys()) if (!places.has(name)) problems.push(`${name} is missing`);
    if (problems.length > 0) {
      const rest = problems.length > 5 ? ` and ${problems.length - 5} more` : '';
      const list = problems.slice(0, 5).join('; ');
      const untied = problems.length === 1 && problems[0] === 'lm_head.weight is missing';
      const next = untied
        ? 'Where the embedding is the head as well, set "tie_word_embeddings": true in config.json'
        : 'Check that config.json fits the weights';
      throw new LiloraError('BadModel', `${folder}: ${list}${rest}. ${next}.`);
    }
    for (const [name, shape] of shapes) {
      if (unused(name)) continue;
      const raw = await files.readRaw(places.get(name)!);
      const stays = halves(name) && canBeHalf(shape) && (raw.dtype === 'F16' || raw.dtype === 'BF16');
      const weight = stays
        ? halfMatrix(raw.data as Uint16Array, shape, raw.dtype as HalfType)
        : tf.tensor(toFloat32(raw, name, folder), [...shape]);
      loaded.set(name, weight);
      handOver(weight);
    }
    return new WeightSet(loaded);
  } catch (error) {
    for (const tensor of loaded.values()) tensor.dispose();
    throw error;
  } finally {
    await files.close();
  }
}

/** Weights in 8 bits or fewer, whether `config.json` speaks of it or not: read as they are, they would be garbage. */
function refuseQuantized(files: ModelTensors, folder: string, isWeight: (name: string) => boolean): void {
  const how = (name: string) => {
    const { dtype } = files.info(name);
    if (SCALES.test(name)) return `${name} beside it`;
    return isWeight(name) && !FLOATS.has(dtype) ? `${name} holds ${dtype}` : undefined;
  };
  const found = files.names().flatMap((name) => how(name) ?? [])[0];
  if (found === undefined) return;
  throw new LiloraError('BadModel', `${folder}: ${quantized(found)}.`);
}

/**
 * Gives the numbers of a tensor to TensorFlow now. TensorFlow.js does it when they are first used, and the first pass of a
 * large model would hold most weights twice.
 */
function handOver(tensor: tf.Tensor): void {
  if (tf.getBackend() === 'tensorflow') (tf.backend() as unknown as NativeBackend).getInputTensorIds([tensor]);
}
