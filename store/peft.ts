import { LiloraError } from '../core/errors.ts';
import type { HostTensor, TensorMap } from '../core/host-tensor.ts';
import { parseJson } from '../core/json.ts';
import { readTensorMap, writeSafetensors } from '../core/safetensors.ts';

/** The files of an adapter, as PEFT names them. */
export const PEFT_FILES = { config: 'adapter_config.json', weights: 'adapter_model.safetensors' } as const;

/** An ordinary LoRA: on each layer ΔW = alpha / rank · B A, with A [rank, in] and B [out, rank]. */
export interface PeftAdapter {
  readonly rank: number;
  readonly alpha: number;
  /** By Hugging Face module path. */
  readonly layers: ReadonlyMap<string, { readonly A: HostTensor; readonly B: HostTensor }>;
}

const PREFIX = 'base_model.model.';

/**
 * The adapter as PEFT reads it (https://huggingface.co/docs/peft, checkpoint format). Only fields that every PEFT since
 * 0.5 knows: some versions refuse unknown ones. Layers are named in full, so that nothing else is adapted by accident.
 * @param base name of the base model, for people
 */
export function writePeft(
  { rank, alpha, layers }: PeftAdapter,
  base: string,
): Array<{ path: string; bytes: Uint8Array }> {
  const tensors: TensorMap = new Map();
  for (const [layer, { A, B }] of layers) {
    checkShapes(layer, A, B, rank, 'the bank', 'BadConfig');
    tensors.set(`${PREFIX}${layer}.lora_A.weight`, A);
    tensors.set(`${PREFIX}${layer}.lora_B.weight`, B);
  }
  const config = {
    alpha_pattern: {},
    base_model_name_or_path: base,
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
    rank_pattern: {},
    revision: null,
    target_modules: [...layers.keys()].sort(),
    task_type: null,
    use_rslora: false,
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
  for (const name of ['rank_pattern', 'alpha_pattern'])
    if (Object.keys(fields[name] ?? {}).length > 0)
      throw refuse(`${name} is not supported; use one rank and alpha for all layers`);
  const [rank, alpha] = [fields['r'], fields['lora_alpha']];
  if (typeof rank !== 'number' || !Number.isInteger(rank) || rank < 1) throw refuse('r is no rank');
  if (typeof alpha !== 'number') throw refuse('lora_alpha is no number');
  // rsLoRA scales by alpha / √rank.
  const scaled = fields['use_rslora'] === true ? alpha * Math.sqrt(rank) : alpha;
  return { rank, alpha: scaled, layers: readPairs(weights, `${folder}/${PEFT_FILES.weights}`, rank) };
}

function readPairs(weights: Uint8Array, file: string, rank: number): Map<string, { A: HostTensor; B: HostTensor }> {
  const tensors = readTensorMap(weights, file);
  const layers = new Map<string, { A: HostTensor; B: HostTensor }>();
  for (const [name, A] of tensors) {
    const [, layer, half] = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(name) ?? [];
    if (!layer) throw new LiloraError('BadModel', `${file}: ${name} is no tensor of a plain LoRA.`);
    const B = tensors.get(`${PREFIX}${layer}.lora_B.weight`);
    if (!B || !tensors.has(`${PREFIX}${layer}.lora_A.weight`))
      throw new LiloraError('BadModel', `${file}: ${name} has no other half. The file is incomplete.`);
    if (half === 'B') continue;
    checkShapes(layer, A, B, rank, file, 'BadModel');
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
