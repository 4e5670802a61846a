import { LiloraError } from '../core/errors.ts';
import type { HostTensor, TensorMap } from '../core/host-tensor.ts';
import { readTensorMap, writeSafetensors } from '../core/safetensors.ts';
import { MERGE, type PeftSettings, readPeftConfig } from './peft-config.ts';
import { isTargeted, type LoraName, layerFinder, loraName, type ModelLayer, unwrapped } from './peft-names.ts';

/** The files of an adapter, as PEFT names them. */
export const PEFT_FILES = { config: 'adapter_config.json', weights: 'adapter_model.safetensors' } as const;

/**
 * An ordinary LoRA: on each layer ΔW = alpha / r · B A, or alpha / √r · B A (rsLoRA), with A [r, in] and B [out, r].
 */
export interface PeftAdapter {
  /** r and alpha of most layers. */
  readonly rank: number;
  readonly alpha: number;
  readonly useRslora?: boolean;
  /** By Hugging Face module path. r of a layer is that of its tensors, and alpha the layer's own where it names one. */
  readonly layers: ReadonlyMap<string, PeftPair>;
}

interface PeftPair {
  readonly A: HostTensor;
  readonly B: HostTensor;
  readonly alpha?: number;
}

const PREFIX = 'base_model.model.';

/** Longest name of a tensor: several times what any trainer writes. */
const LONGEST = 1000;

/**
 * The adapter as PEFT reads it (https://huggingface.co/docs/peft, checkpoint format). Only fields that every PEFT since
 * 0.5 knows: some versions refuse unknown ones. Layers are named in full, so that nothing else is adapted by accident.
 * @param base what people and servers call the base model: resolvers of servers compare it with what they serve
 */
export function writePeft(
  { rank, alpha, useRslora = false, layers }: PeftAdapter,
  base: { readonly name: string; readonly revision?: string },
): Array<{ path: string; bytes: Uint8Array }> {
  const tensors: TensorMap = new Map();
  const [ranks, alphas]: [Record<string, number>, Record<string, number>] = [{}, {}];
  for (const [layer, { A, B, alpha: own = alpha }] of layers) {
    const [r = rank] = A.shape;
    checkShapes(layer, A, B, r, 'the bank', 'BadConfig');
    if (r !== rank) ranks[layer] = r;
    if (own !== alpha) alphas[layer] = own;
    tensors.set(`${PREFIX}${layer}.lora_A.weight`, A);
    tensors.set(`${PREFIX}${layer}.lora_B.weight`, B);
  }
  const config = {
    alpha_pattern: alphas,
    base_model_name_or_path: base.name,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: alpha,
    lora_dropout: 0,
    modules_to_save: null,
    peft_type: 'LORA',
    r: rank,
    rank_pattern: ranks,
    revision: base.revision ?? null,
    target_modules: [...layers.keys()].sort(),
    task_type: null,
    use_rslora: useRslora,
  };
  return [
    { path: PEFT_FILES.config, bytes: Buffer.from(`${JSON.stringify(config, null, 2)}\n`) },
    { path: PEFT_FILES.weights, bytes: writeSafetensors(tensors, { format: 'pt' }) },
  ];
}

/** Layers of a model that an adapter may have, for one use of it. */
export interface ReadableLayers {
  /** Those that the use computes. */
  readonly layers: readonly ModelLayer[];
  /** Those that it does not, and what is said of them. */
  readonly others?: { readonly layers: readonly ModelLayer[]; readonly why: string };
}

/**
 * Reads an adapter that PEFT, another trainer or we wrote. Nothing of it is skipped: every tensor is half of the pair of a
 * layer that the model has, under any of the names that `layerFinder` knows, and has its shape; else `BadModel` names it.
 * Layers are called as the model calls them.
 * @param folder only used in messages
 * @param model absent: an adapter that we wrote, whose names are today's already
 */
export function readPeft(config: Uint8Array, weights: Uint8Array, folder: string, model?: ReadableLayers): PeftAdapter {
  const settings = readPeftConfig(config, `${folder}/${PEFT_FILES.config}`);
  const file = `${folder}/${PEFT_FILES.weights}`;
  return adapterOfTensors(settings, readTensorMap(weights, file), file, model);
}

/** The same of what its files hold. @param file only used in messages */
export function adapterOfTensors(
  settings: PeftSettings,
  tensors: TensorMap,
  file: string,
  model?: ReadableLayers,
): PeftAdapter {
  const refuse = (why: string) => new LiloraError('BadModel', `${file}: ${why}.`);
  const found = [...halves(tensors, refuse, model)];
  if (found.length === 0) throw refuse('it holds no adapter');
  const names = [...new Set(found.map(([name]) => name))];
  const halfOf = new Map(found.map(([name, half]) => [`${name}/${half.half}`, half]));
  const pairs = names.map((name) => {
    const [A, B] = [halfOf.get(`${name}/A`), halfOf.get(`${name}/B`)];
    if (!A || !B) throw refuse(`${(A ?? B)!.key} has no other half. The file is incomplete`);
    return { name, A, B, paths: [...new Set([A.path, unwrapped(A.path), name])] };
  });
  checkTargeted(pairs, settings, refuse);
  const layers = pairs.map(({ name, A, B, paths }): [string, PeftPair] => {
    checkShapes(name, A.tensor, B.tensor, settings.rankOf(paths), file, 'BadModel');
    const own = settings.alphaOf(paths);
    return [name, { A: A.tensor, B: B.tensor, ...(own !== settings.alpha && { alpha: own }) }];
  });
  const { rank, alpha, useRslora } = settings;
  return { rank, alpha, ...(useRslora && { useRslora }), layers: new Map(layers) };
}

interface Half extends LoraName {
  readonly key: string;
  readonly tensor: HostTensor;
}

type Refuse = (why: string) => LiloraError;

/** Every tensor of a file as half of the pair of a layer, by the layer's name. */
function* halves(tensors: TensorMap, refuse: Refuse, model?: ReadableLayers): Generator<[layer: string, Half]> {
  const [find, findOther] = [model?.layers, model?.others?.layers].map((layers) => layers && layerFinder(layers));
  const taken = new Map<string, string>();
  const adapters = new Set<string | undefined>();
  for (const [key, tensor] of tensors) {
    if (key.length > LONGEST) throw refuse(`a tensor has a name of ${key.length} characters`);
    // What VeLoRA keeps for the way back.
    if (model && /\.lora_velora_embed(\.[^.]+)?$/.test(key)) continue;
    const name = model ? loraName(key) : ownName(key);
    if (!name) throw refuse(whyNoHalf(key, tensor));
    const layer = find ? find(name.path) : { name: name.path };
    if (!layer) {
      const other = findOther?.(name.path);
      if (other) throw refuse(`${key} is of ${other.name}: ${model!.others!.why}. ${MERGE}`);
      throw refuse(whyNoLayer(key, tensor, model!));
    }
    checkNumbers(key, tensor, refuse);
    if ('in' in layer) checkFits(key, name.half, tensor, layer, refuse);
    adapters.add(name.adapter);
    const place = `${layer.name}/${name.half}`;
    const first = taken.get(place);
    if (adapters.size > 1)
      throw refuse(
        `it holds several adapters (${[...adapters].map((each) => each ?? 'one without a name').join(', ')}). Save each in a folder of its own`,
      );
    if (first !== undefined) throw refuse(`${first} and ${key} are both of ${layer.name}. Remove one`);
    taken.set(place, key);
    yield [layer.name, { ...name, key, tensor }];
  }
}

/** The name of a tensor in an adapter that we wrote. */
function ownName(key: string): LoraName | null {
  const [, path, half] = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(key) ?? [];
  return path ? { path, half: half as 'A' | 'B', adapter: undefined } : null;
}

/** What a tensor is that is no half of a pair of a linear layer. */
function whyNoHalf(key: string, { shape }: HostTensor): string {
  const what = `${key} [${shape}] is no tensor of a plain LoRA`;
  if (/\.lora_magnitude_vector\b/.test(key)) return `${what}: it is of DoRA, which is not supported. ${MERGE}`;
  if (/\.lora_embedding_[AB]\b/.test(key)) return `${what}: it is of an embedding, which is not supported. ${MERGE}`;
  if (/\.lora_[AB]\b.*\.bias$/.test(key)) return `${what}: it is a bias, which is not supported. ${MERGE}`;
  if (/\.lora_/.test(key)) return `${what} of linear layers. ${MERGE}`;
  return `${what}: it is a weight of the model, trained or repeated, and PEFT puts it in the place of the model's own. ${MERGE}`;
}

/** A path within a tower. */
const SEEING = /vision|visual/;

/** What is wrong with a pair whose layer is nowhere in the model. */
function whyNoLayer(key: string, { shape }: HostTensor, { layers, others }: ReadableLayers): string {
  const what = `${key} [${shape}] belongs to no layer of this model`;
  const depthOf = (path: string) =>
    SEEING.test(path) ? 0 : Number(/(?:^|\.)layers\.(\d+)\./.exec(path)?.[1] ?? -1) + 1;
  const depth = Math.max(...layers.map(({ name }) => depthOf(name)));
  if (depthOf(loraName(key)?.path ?? key) > depth)
    return `${what}, whose language model has ${depth} layers. Use the base model that the adapter was made for`;
  const known = [
    ...new Set([...layers, ...(others?.layers ?? [])].map(({ name }) => name.replaceAll(/\.\d+\./g, '.N.'))),
  ];
  return `${what}. Its layers are ${known.slice(0, 12).join(', ')}${known.length > 12 ? ', …' : ''}`;
}

/** What a trainer left where it failed. */
function checkNumbers(key: string, { shape, data }: HostTensor, refuse: Refuse): void {
  if (data.length === 0)
    throw refuse(
      `${key} is empty ([${shape}]): it was saved by one process of several that held its parts (DeepSpeed ZeRO-3, FSDP). Save it again with the parts gathered, for example with zero_to_fp32.py`,
    );
  if (!data.every(Number.isFinite))
    throw refuse(`${key} holds NaN or infinity: its training overflowed. Use an earlier checkpoint`);
}

/** One half against the sizes of its layer. */
function checkFits(key: string, half: 'A' | 'B', tensor: HostTensor, layer: ModelLayer, refuse: Refuse): void {
  const { shape } = tensor;
  const fits = shape.length === 2 && (half === 'A' ? shape[1] === layer.in : shape[0] === layer.out);
  if (fits) return;
  const needed = half === 'A' ? `[r, ${layer.in}]` : `[${layer.out}, r]`;
  throw refuse(
    `${key} is [${shape}], but ${layer.name} of this model is [${layer.out}, ${layer.in}] and needs ${needed}. Use the base model that the adapter was made for`,
  );
}

/**
 * PEFT leaves tensors out of layers that the configuration does not choose. Where it chooses none at all, its names are of
 * another model, and the tensors are what was trained.
 */
function checkTargeted(
  pairs: ReadonlyArray<{ readonly name: string; readonly A: Half; readonly paths: readonly string[] }>,
  settings: PeftSettings,
  refuse: Refuse,
): void {
  const tied = settings.tied && pairs.find(({ name }) => name === 'lm_head');
  if (tied)
    throw refuse(
      `${tied.A.key}: the adapter of the head is tied to one of the embeddings (ensure_weight_tying). ${MERGE}`,
    );
  const left = pairs.filter(({ paths }) => isTargeted(paths, settings) === false);
  if (left.length === 0 || left.length === pairs.length) return;
  throw refuse(
    `${left[0]!.A.key}: ${PEFT_FILES.config} does not choose this layer (target_modules, exclude_modules, layers_to_transform), so PEFT leaves it out. Mend the configuration, or remove the tensor`,
  );
}

function checkShapes(
  layer: string,
  A: HostTensor,
  B: HostTensor,
  rank: number,
  where: string,
  name: 'BadConfig' | 'BadModel',
): void {
  if (A.shape.length === 2 && B.shape.length === 2 && A.shape[0] === rank && B.shape[1] === rank) return;
  const problem = `A [${A.shape}] and B [${B.shape}] of ${layer} are no pair of rank ${rank}`;
  throw new LiloraError(name, `${where}: ${problem}.`);
}
