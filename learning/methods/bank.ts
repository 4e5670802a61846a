import { z } from 'zod';
import { LiloraError } from '../../core/errors.ts';
import type { HostTensor, TensorMap } from '../../core/host-tensor.ts';
import { canonicalJson, parseJson } from '../../core/json.ts';
import { readSafetensors, toFloat32, writeSafetensors } from '../../core/safetensors.ts';
import type { AdaptedLayer } from '../model/model.ts';
import type { Bank, Trainable } from './method.ts';

/** Key of a tensor that all tasks share. */
export const sharedKey = (layer: string, tensor: string) => `shared/${layer}/${tensor}`;
/** Key of a tensor of one task. */
export const ownKey = (task: string, layer: string, tensor: string) => `tasks/${task}/${layer}/${tensor}`;

/** Key of a tensor of one task that belongs to no single layer. */
export const taskKey = (task: string, tensor: string) => `tasks/${task}/${tensor}`;
/** In place of a layer's name: of the whole model. */
export const MODEL = 'model';
/** Key of a tensor of the whole model that all tasks share. */
export const modelKey = (tensor: string) => `${MODEL}/${tensor}`;

/** A tensor that must be there. */
export function tensorOf(bank: Bank, key: string): HostTensor {
  const tensor = bank.tensors.get(key);
  if (!tensor)
    throw new LiloraError('IntegrityError', `The bank has no tensor ${key}. It is damaged or of another version.`);
  return tensor;
}

/** Refuses a task that the bank does not know. */
export function mustKnow(bank: Bank, task: string): void {
  if (bank.tasks.includes(task)) return;
  const known = bank.tasks.join(', ') || 'none';
  throw new LiloraError('NotFound', `The bank knows no task "${task}". It knows: ${known}.`);
}

/** Refuses to go on with options that change the shape or the meaning of what the bank holds. */
export function mustMatch(bank: Bank, options: Readonly<Record<string, unknown>>, names: readonly string[]): void {
  for (const name of names) {
    if (canonicalJson(bank.options[name] ?? null) === canonicalJson(options[name] ?? null)) continue;
    throw new LiloraError(
      'BadConfig',
      `The bank was started with ${name} = ${JSON.stringify(bank.options[name])}, not ${JSON.stringify(options[name])}. Use the same, or start a new stream.`,
    );
  }
}

/** What most methods do after a task: every tensor of `trainable` goes where it belongs, and the task is appended. */
export function withTask(bank: Bank, { task, tensors: trainable }: Trainable, trained: TensorMap): Bank {
  const tensors: TensorMap = new Map(bank.tensors);
  const sharedAt = (key: string) => (key.startsWith(`${MODEL}/`) ? key : `shared/${key}`);
  for (const [key, { start, place }] of trainable)
    tensors.set(place === 'shared' ? sharedAt(key) : `tasks/${task}/${key}`, trained.get(key) ?? start);
  return { ...bank, tasks: [...bank.tasks, task], tensors };
}

/** All tensors that are shared or of one task, by `<module path>/<tensor>`: what most methods run a task with. */
export function tensorsOfTask(bank: Bank, task: string): TensorMap {
  mustKnow(bank, task);
  const tensors: TensorMap = new Map();
  for (const prefix of ['shared/', `tasks/${task}/`])
    for (const [key, tensor] of bank.tensors) if (key.startsWith(prefix)) tensors.set(key.slice(prefix.length), tensor);
  return tensors;
}

const FORMAT = 'lilora-bank-v1';

const name = z.string().regex(/^[^/]+$/, 'is empty or holds a slash');
const distinct = (names: readonly string[]) => new Set(names).size === names.length;
const size = z.number().int().positive();

const header = z.strictObject({
  method: name,
  options: z.record(z.string(), z.unknown()),
  layers: z
    .array(z.strictObject({ name, in: size, out: size }))
    .refine((layers) => distinct(layers.map(({ name }) => name)), 'names a layer twice'),
  tasks: z.array(name).refine(distinct, 'names a task twice'),
});

/** The bank as one safetensors file; equal banks give equal bytes. */
export function writeBank(bank: Bank): Uint8Array {
  const { method, options, layers, tasks } = bank;
  return writeSafetensors(bank.tensors, { format: FORMAT, bank: canonicalJson({ method, options, layers, tasks }) });
}

/**
 * Reads what `writeBank` wrote. Strict: every tensor belongs to a layer and a task that the header names, every layer has
 * the same shared tensors, and every task the same own tensors in the same shapes. What belongs to no layer stands under
 * `model/<tensor>` or `tasks/<task>/<tensor>`. Else `IntegrityError`.
 * @param file named in messages
 */
export function readBank(bytes: Uint8Array, file: string): Bank {
  const { tensors: raw, metadata } = readSafetensors(bytes, file);
  if (metadata['format'] !== FORMAT || metadata['bank'] === undefined)
    throw damaged(file, `it is not a bank of this product (format ${FORMAT})`);
  const parsed = header.safeParse(parseJson(metadata['bank'], `${file}: header`));
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw damaged(file, `in its header, ${issue.path.join('.') || 'the whole'}: ${issue.message}`);
  }
  const { layers, tasks } = parsed.data;
  const tensors: TensorMap = new Map();
  for (const [key, tensor] of raw) tensors.set(key, { shape: tensor.shape, data: toFloat32(tensor, key, file) });
  checkTensors(tensors, layers, tasks, file);
  return { ...parsed.data, tensors };
}

function checkTensors(
  tensors: TensorMap,
  layers: readonly AdaptedLayer[],
  tasks: readonly string[],
  file: string,
): void {
  const known = new Set(layers.map(({ name }) => name));
  const [shared, own, wide] = [new Set<string>(), new Set<string>(), new Set<string>()];
  for (const key of tensors.keys()) {
    const parts = key.split('/');
    if (parts[0] === 'shared' && parts.length === 3 && known.has(parts[1]!)) shared.add(parts[2]!);
    else if (parts[0] === 'tasks' && parts.length === 4 && tasks.includes(parts[1]!) && known.has(parts[2]!))
      own.add(parts[3]!);
    else if (parts[0] === 'tasks' && parts.length === 3 && tasks.includes(parts[1]!)) wide.add(parts[2]!);
    else if (parts[0] === 'model' && parts.length === 2 && parts[1]) continue;
    else throw damaged(file, `tensor ${key} belongs to no layer or task of this bank`);
  }
  const mustHave = (key: string) => {
    const tensor = tensors.get(key);
    if (!tensor) throw damaged(file, `tensor ${key} is missing`);
    return tensor;
  };
  const mustBeAlike = (keyOf: (task: string) => string) => {
    for (const task of tasks) {
      const [key, first] = [keyOf(task), keyOf(tasks[0]!)];
      const [here, there] = [mustHave(key).shape, mustHave(first).shape];
      if (here.join() !== there.join()) throw damaged(file, `tensor ${key} is [${here}], but ${first} is [${there}]`);
    }
  };
  for (const tensor of wide) mustBeAlike((task) => taskKey(task, tensor));
  for (const { name: layer } of layers) {
    for (const tensor of shared) mustHave(sharedKey(layer, tensor));
    for (const tensor of own) mustBeAlike((task) => ownKey(task, layer, tensor));
  }
}

function damaged(file: string, problem: string): LiloraError {
  return new LiloraError(
    'IntegrityError',
    `${file}: ${problem}. Fetch the bank again, or roll back to an earlier generation.`,
  );
}
