import { z } from 'zod';
import { LiloraError } from '../../../core/errors.ts';
import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { canonicalJson, parseJson } from '../../../core/json.ts';
import { readSafetensors, toFloat32, writeSafetensors } from '../../../core/safetensors.ts';
import type { AdaptedLayer } from '../../model/model.ts';
import { mustKnow, ownKey, sharedKey, tensorOf } from '../bank.ts';
import type { Bank } from '../method.ts';
import { type LiloraOptions, liloraOptions } from './options.ts';

/**
 * The task bank of the authors' released code (github.com/chanceche/LiLoRA), as infra/python/released_bank.py writes and
 * reads it: the same tensors under the same names, before which stands the dictionary that they come from. Their
 * ΔW_t = r⁻¹·lora_alpha · (σ(fusion)·share_B + (1 − σ(fusion))·specific_B specific_A) · share_A is ours.
 */
const FORMAT = 'lilora-task-bank-v2';
const ADAPTER = 'default';
const PREFIX = 'base_model.model.';

/** Their dictionary, their module, what ours is called. `fusion` is a, before the sigmoid. */
const TENSORS = [
  { group: 'lora_share_A', end: 'weight', name: 'A', own: false },
  { group: 'lora_share_B', end: 'weight', name: 'B0', own: false },
  { group: 'lora_specific_A', end: 'weight', name: 'A_tilde', own: true },
  { group: 'lora_specific_B', end: 'weight', name: 'B_tilde', own: true },
  { group: 'lora_specific_B', end: 'fusion', name: 'a', own: true },
] as const;

/** The modules of LLaVA's own code, and as transformers names them. */
const MODULES: ReadonlyArray<readonly [theirs: RegExp, ours: RegExp, toOurs: string, toTheirs: string]> = [
  [/^model\.(layers\.\d+\..+)$/, /^model\.language_model\.(layers\.\d+\..+)$/, 'model.language_model.$1', 'model.$1'],
  [
    /^model\.mm_projector\.0$/,
    /^model\.multi_modal_projector\.linear_1$/,
    'model.multi_modal_projector.linear_1',
    'model.mm_projector.0',
  ],
  [
    /^model\.mm_projector\.2$/,
    /^model\.multi_modal_projector\.linear_2$/,
    'model.multi_modal_projector.linear_2',
    'model.mm_projector.2',
  ],
];

const size = z.int().positive();
const configSchema = z.strictObject({ r: size, lora_alpha: z.number().positive(), sub_rank: size });
const orderSchema = z
  .array(z.string().regex(/^\d+$/, 'is no task number'))
  .min(1, 'names no task')
  .refine((order) => new Set(order).size === order.length, 'names a task twice');

/**
 * Reads a bank of the released code. Strict: every layer has all tensors of every task in the shapes that the configuration
 * says, and nothing else is there; else `IntegrityError` names what is missing or unknown.
 * @param names of the tasks, in their order; `task-<number>` when absent
 */
export function readReleasedBank(bytes: Uint8Array, file: string, names?: readonly string[]): Bank {
  const bad = (what: string) => new LiloraError('IntegrityError', `${file}: ${what}. Make it anew from the original.`);
  const { tensors: raw, metadata } = readSafetensors(bytes, file);
  if (metadata['format'] !== FORMAT) throw bad(`its format is ${JSON.stringify(metadata['format'])}, not ${FORMAT}`);
  const parse = <T>(key: string, schema: z.ZodType<T>): T => {
    const result = schema.safeParse(parseJson(metadata[key] ?? 'null', `${file}: ${key}`));
    if (result.success) return result.data;
    const [issue] = result.error.issues;
    throw bad(`${[key, ...issue!.path].join('.')}: ${issue!.message}`);
  };
  const { r: rank, lora_alpha: alpha, sub_rank: innerRank } = parse('config', configSchema);
  const order = parse('task_order', orderSchema);
  const tasks = taskNames(order, names, file);

  const left = new Set(raw.keys());
  const take = (key: string, shape: readonly number[]): HostTensor => {
    const found = raw.get(key);
    if (!found) throw bad(`${key} is missing`);
    if (found.shape.join() !== shape.join()) throw bad(`${key} is [${found.shape}], but must be [${shape}]`);
    left.delete(key);
    return { shape, data: toFloat32(found, key, file) };
  };
  const layers: AdaptedLayer[] = [];
  const tensors: TensorMap = new Map();
  for (const key of raw.keys()) {
    const [, module] = /^lora_share_A\/base_model\.model\.(.+)\.lora_share_A\.default\.weight$/.exec(key) ?? [];
    if (module === undefined) continue;
    const name = translate(module, 'ours');
    if (name === null) throw bad(`${key} belongs to no module that LLaVA has`);
    const [inputs, out] = [raw.get(key)!.shape[1] ?? 0, raw.get(releasedKey(module, TENSORS[1]))?.shape[0] ?? 0];
    layers.push({ name, in: inputs, out });
    const shapes = {
      A: [rank, inputs],
      B0: [out, rank],
      A_tilde: [innerRank, rank],
      B_tilde: [out, innerRank],
      a: [1],
    };
    for (const tensor of TENSORS) {
      const shape = shapes[tensor.name];
      if (!tensor.own) tensors.set(sharedKey(name, tensor.name), take(releasedKey(module, tensor), shape));
      else
        for (const [i, task] of order.entries())
          tensors.set(ownKey(tasks[i]!, name, tensor.name), take(releasedKey(module, tensor, task), shape));
    }
  }
  if (layers.length === 0) throw bad('it adapts no layer');
  if (left.size > 0)
    throw bad(`${left.size} tensor(s) belong to no layer or task of it: ${[...left].slice(0, 3).join(', ')}`);
  const options = liloraOptions.parse({ variant: 'released', rank, alpha, innerRank });
  return { method: 'lilora', options, layers, tasks, tensors };
}

/** A LiLoRA bank of a LLaVA model for the released code; tasks become numbers in their order. `BadConfig` for any other. */
export function writeReleasedBank(bank: Bank): Uint8Array {
  if (bank.method !== 'lilora')
    throw new LiloraError('BadConfig', `The released code reads banks of lilora, not of ${bank.method}.`);
  const { rank: r, alpha: lora_alpha, innerRank: sub_rank } = bank.options as LiloraOptions;
  if (sub_rank === undefined)
    throw new LiloraError(
      'BadConfig',
      'The released code has one inner rank for all layers; innerShare gives each its own.',
    );
  const tensors: TensorMap = new Map();
  for (const { name } of bank.layers) {
    const module = translate(name, 'theirs');
    if (module === null)
      throw new LiloraError('BadConfig', `The released code knows LLaVA alone; it has no module for ${name}.`);
    for (const tensor of TENSORS) {
      if (!tensor.own) tensors.set(releasedKey(module, tensor), tensorOf(bank, sharedKey(name, tensor.name)));
      else
        for (const [i, task] of bank.tasks.entries()) {
          mustKnow(bank, task);
          tensors.set(releasedKey(module, tensor, String(i)), tensorOf(bank, ownKey(task, name, tensor.name)));
        }
    }
  }
  return writeSafetensors(tensors, {
    format: FORMAT,
    task_order: canonicalJson(bank.tasks.map((_, i) => String(i))),
    config: canonicalJson({ r, lora_alpha, sub_rank }),
  });
}

function releasedKey(module: string, { group, end }: (typeof TENSORS)[number], task?: string): string {
  const [folder, place] = task === undefined ? ['', ''] : [`${task}/`, `.${task}`];
  return `${group}/${folder}${PREFIX}${module}.${group}.${ADAPTER}${place}.${end}`;
}

function translate(name: string, to: 'ours' | 'theirs'): string | null {
  for (const [theirs, ours, toOurs, toTheirs] of MODULES) {
    const [from, into] = to === 'ours' ? [theirs, toOurs] : [ours, toTheirs];
    if (from.test(name)) return name.replace(from, into);
  }
  return null;
}

function taskNames(order: readonly string[], names: readonly string[] | undefined, file: string): string[] {
  if (names === undefined) return order.map((task) => `task-${task}`);
  if (names.length === order.length && new Set(names).size === names.length) return [...names];
  throw new LiloraError(
    'BadConfig',
    `${file} has ${order.length} task(s), ${order.join(', ')}: name so many, each once, not ${names.length}.`,
  );
}
