import { LiloraError } from '../../core/errors.ts';
import type { HostTensor, TensorMap } from '../../core/host-tensor.ts';
import { canonicalJson, parseJson } from '../../core/json.ts';
import { readSafetensors, toFloat32, writeSafetensors } from '../../core/safetensors.ts';
import type { AdaptedLayer } from '../model/model.ts';
import type { Bank } from './method.ts';

/** Key of a tensor that all tasks share. */
export const sharedKey = (layer: string, tensor: string) => `shared/${layer}/${tensor}`;
/** Key of a tensor of one task. */
export const ownKey = (task: string, layer: string, tensor: string) => `tasks/${task}/${layer}/${tensor}`;

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
      `The bank was started with ${name} = ${bank.options[name]}, not ${options[name]}. Use the same, or start a new stream.`,
    );
  }
}

const FORMAT = 'lilora-bank-v1';

/** The bank as one safetensors file; equal banks give equal bytes. */
export function writeBank(bank: Bank): Uint8Array {
  const { method, options, layers, tasks } = bank;
  return writeSafetensors(bank.tensors, { format: FORMAT, bank: canonicalJson({ method, options, layers, tasks }) });
}

/** Reads what `writeBank` wrote. Strict: every tensor belongs to a layer and a task that the header names. */
export function readBank(bytes: Uint8Array, file: string): Bank {
  const { tensors: raw, metadata } = readSafetensors(bytes, file);
  if (metadata['format'] !== FORMAT || metadata['bank'] === undefined)
    throw new LiloraError('IntegrityError', `${file} is not a bank of this product (format ${FORMAT}).`);
  const header = parseJson(metadata['bank'], `${file}: header`) as Omit<Bank, 'tensors'>;
  const layers = new Set(header.layers.map(({ name }: AdaptedLayer) => name));
  const tasks = new Set(header.tasks);
  const tensors: TensorMap = new Map();
  for (const [key, tensor] of raw) {
    const parts = key.split('/');
    const known =
      (parts[0] === 'shared' && parts.length === 3 && layers.has(parts[1]!)) ||
      (parts[0] === 'tasks' && parts.length === 4 && tasks.has(parts[1]!) && layers.has(parts[2]!));
    if (!known)
      throw new LiloraError('IntegrityError', `${file}: tensor ${key} belongs to no layer or task of this bank.`);
    tensors.set(key, { shape: tensor.shape, data: toFloat32(tensor, key, file) });
  }
  return { ...header, tensors };
}
