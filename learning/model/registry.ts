import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '../../core/json.ts';
import { noConfig, refuseOtherKinds } from '../../core/model-folder.ts';
import { openModelTensors } from '../../core/model-tensors.ts';
import type { RawData } from '../../core/safetensors.ts';
import { isDecoderMatrix } from './decoder.ts';
import { modelDigest } from './digest.ts';
import { llava } from './llava/index.ts';
import type { BaseModel } from './model.ts';
import { qwen2vl } from './qwen2vl/index.ts';
import { smolvlmFamily } from './smolvlm/index.ts';
import type { LanguageConfig } from './vision-language.ts';
import { readWeights, type Shapes, type Weights } from './weights.ts';

/** One family of base models: how its configuration is read, which weights it has, how it computes. */
export interface Family<Config extends LanguageConfig> {
  /** `model_type` of `config.json`. */
  readonly name: string;
  /** Checks and completes the configuration; `BadModel` for what the family does not compute. */
  config(json: unknown, generation: unknown, file: string): Config;
  /** The canonical name of a tensor in a file, whichever of the known layouts it has. */
  canonicalName(name: string): string;
  /** Every weight a folder must hold. */
  shapes(config: Config): Shapes;
  /** Weights of `shapes` that no computation reads. */
  unused(name: string, config: Config): boolean;
  /** Weights beyond `shapes` that a folder may hold. */
  allowed(name: string, config: Config): boolean;
  /** A model on weights that the caller owns. */
  build(config: Config, weights: Weights, digest: string): BaseModel;
}

// biome-ignore lint/suspicious/noExplicitAny: the configuration type belongs to each family alone.
type AnyFamily = Family<any>;

/** One line per family. */
const FAMILIES: readonly AnyFamily[] = [llava, smolvlmFamily('smolvlm'), smolvlmFamily('idefics3'), qwen2vl];

/** A checked configuration together with its family. */
export interface ModelDefinition {
  readonly family: AnyFamily;
  readonly config: LanguageConfig;
  /** Canonical name → shape of every weight. */
  readonly shapes: Shapes;
}

/**
 * Reads a parsed `config.json` (and `generation_config.json`, where there is one).
 * @param file path of `config.json` for messages
 */
export function defineModel(json: unknown, generation?: unknown, file = 'config.json'): ModelDefinition {
  refuseOtherKinds(json, file);
  const type = (json as { model_type?: unknown }).model_type;
  const family = FAMILIES.find(({ name }) => name === type)!;
  const config = family.config(json, generation, file);
  return { family, config, shapes: family.shapes(config) };
}

/**
 * A model on weights that the caller makes, owns, trains (`tf.Variable`) and disposes. Gradients flow to every weight
 * that the features and the loss depend on; the tower is part of them when the caller differentiates `encodeImages`.
 */
export function buildModel(definition: ModelDefinition, weights: Weights): BaseModel {
  return definition.family.build(definition.config, weights, '');
}

/** Reads `config.json` and `generation_config.json` of a model folder. */
export async function readDefinition(folder: string): Promise<ModelDefinition> {
  const path = join(folder, 'config.json');
  const config = await readJson(path);
  if (config === undefined) throw await noConfig(folder);
  return defineModel(config, await readJson(join(folder, 'generation_config.json')), path);
}

export interface LoadOptions {
  /**
   * `stored`: the matrices of the decoder stay in 16 bits a number where their files have them so, and are widened when
   * they are used. The same results, bit for bit, in half the memory, but slower.
   */
  readonly weights?: 'float32' | 'stored';
}

/** Loads a base model from a folder in the Hugging Face layout. `dispose` frees its weights. */
export async function loadModel(folder: string, { weights: kept }: LoadOptions = {}): Promise<BaseModel> {
  const { family, config, shapes, canonicalName } = await asStored(folder, await readDefinition(folder));
  const digest = await modelDigest(folder);
  const weights = await readWeights(
    folder,
    shapes,
    canonicalName,
    (name) => family.unused(name, config),
    (name) => family.allowed(name, config),
    (name) => kept === 'stored' && isDecoderMatrix(name, config.decoder),
  );
  const model = family.build(config, weights.get, digest);
  const free = model.dispose.bind(model);
  model.dispose = () => {
    free();
    weights.dispose();
  };
  return model;
}

/** A definition as the weights of a folder are: where head and embedding are one, files hold either, or both. */
type Stored = ModelDefinition & { readonly canonicalName: (name: string) => string };

/**
 * A configuration may tie head and embedding while the files hold both. As in transformers 5, they are one weight only
 * where they are equal, and a file that kept the head alone gives it to the embedding.
 */
async function asStored(folder: string, definition: ModelDefinition): Promise<Stored> {
  const { family, config } = definition;
  const stored = { ...definition, canonicalName: family.canonicalName };
  if (!config.decoder.tied) return stored;
  const files = await openModelTensors(folder);
  try {
    const place = (wanted: string) => files.names().find((name) => family.canonicalName(name) === wanted);
    const own = `${config.decoder.path}.embed_tokens.weight`;
    const [head, embedding] = [place('lm_head.weight'), place(own)];
    if (!head) return stored;
    if (!embedding) return { ...stored, canonicalName: (name) => (name === head ? own : family.canonicalName(name)) };
    // As they are stored where their types are the same: a large vocabulary takes half of what it does in float32.
    const same = files.info(head).dtype === files.info(embedding).dtype;
    const read = async (name: string) => (same ? (await files.readRaw(name)).data : files.readFloat(name));
    if (Buffer.compare(bytesOf(await read(head)), bytesOf(await read(embedding))) === 0) return stored;
  } finally {
    await files.close();
  }
  const own = { ...config, decoder: { ...config.decoder, tied: false } };
  return { ...stored, config: own, shapes: family.shapes(own) };
}

const bytesOf = (values: RawData) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

async function readJson(path: string): Promise<unknown> {
  try {
    return parseJson(await readFile(path), path, { errorName: 'BadModel', anyKeys: true, nonFinite: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
