import { LiloraError } from '../core/errors.ts';
import type { HostTensor, TensorMap } from '../core/host-tensor.ts';
import { parseJson } from '../core/json.ts';
import { patternMatcher } from '../core/module-patterns.ts';
import { readTensorMap, writeSafetensors } from '../core/safetensors.ts';

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

/** What we do not compute, and the value that leaves it out. */
const PLAIN: Readonly<Record<string, unknown>> = {
  use_dora: false,
  fan_in_fan_out: false,
  lora_bias: false,
  modules_to_save: null,
  layer_replication: null,
  use_qalora: false,
  trainable_token_indices: null,
  target_parameters: null,
};

/**
 * Reads an adapter that PEFT or we wrote. Strict: every tensor must be half of a pair. What is no plain LoRA is refused by
 * name. @param folder only used in messages
 */
export function readPeft(config: Uint8Array, weights: Uint8Array, folder: string): PeftAdapter {
  const file = `${folder}/${PEFT_FILES.config}`;
  const refuse = (why: string) => new LiloraError('BadModel', `${file}: ${why}.`);
  const fields = parseJson(config, file, { errorName: 'BadModel' }) as Record<string, unknown>;
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) throw refuse('not an object');
  if (fields['peft_type'] !== 'LORA')
    throw refuse(`peft_type is ${JSON.stringify(fields['peft_type'])}; only LORA is read`);
  if ((fields['bias'] ?? 'none') !== 'none') throw refuse('adapters with a bias are not read');
  for (const [name, plain] of Object.entries(PLAIN))
    if ((fields[name] ?? plain) !== plain) throw refuse(`${name} is not supported; export a plain LoRA`);
  const [rank, alpha] = [fields['r'], fields['lora_alpha']];
  if (typeof rank !== 'number' || !Number.isInteger(rank) || rank < 1) throw refuse('r is no rank');
  if (typeof alpha !== 'number') throw refuse('lora_alpha is no number');
  const patternOf = (name: string) => patternIn(fields[name] ?? {}, `${file}: ${name}`);
  const [rankOf, alphaOf] = [patternOf('rank_pattern'), patternOf('alpha_pattern')];
  const pairs = readPairs(weights, `${folder}/${PEFT_FILES.weights}`, (layer) => rankOf(layer) ?? rank);
  const layers = [...pairs].map(([layer, pair]): [string, PeftPair] => {
    const own = alphaOf(layer) ?? alpha;
    return [layer, own === alpha ? pair : { ...pair, alpha: own }];
  });
  return { rank, alpha, ...(fields['use_rslora'] === true && { useRslora: true }), layers: new Map(layers) };
}

/** Values by pattern, as PEFT looks them up: the first that matches counts. */
function patternIn(value: unknown, where: string): (layer: string) => number | undefined {
  const entries = Object.entries(value as object) as Array<[string, unknown]>;
  if (typeof value !== 'object' || Array.isArray(value) || entries.some(([, n]) => typeof n !== 'number' || !(n > 0)))
    throw new LiloraError('BadModel', `${where} is no object of positive numbers.`);
  const matching = patternMatcher(Object.keys(value as object), where, 'BadModel');
  const values = new Map(entries as Array<[string, number]>);
  return (layer) => values.get(matching(layer)[0] ?? '');
}

function readPairs(weights: Uint8Array, file: string, rankOf: (layer: string) => number): Map<string, PeftPair> {
  const tensors = readTensorMap(weights, file);
  const layers = new Map<string, PeftPair>();
  for (const [name, A] of tensors) {
    const [, layer, half] = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(name) ?? [];
    if (!layer) throw new LiloraError('BadModel', `${file}: ${name} is no tensor of a plain LoRA.`);
    const B = tensors.get(`${PREFIX}${layer}.lora_B.weight`);
    if (!B || !tensors.has(`${PREFIX}${layer}.lora_A.weight`))
      throw new LiloraError('BadModel', `${file}: ${name} has no other half. The file is incomplete.`);
    if (half === 'B') continue;
    checkShapes(layer, A, B, rankOf(layer), file, 'BadModel');
    layers.set(layer, { A, B });
  }
  if (layers.size === 0) throw new LiloraError('BadModel', `${file} holds no adapter.`);
  return layers;
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
