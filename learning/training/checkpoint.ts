import { createHash } from 'node:crypto';
import { z } from 'zod';
import { LiloraError } from '../../core/errors.ts';
import type { HostTensor, TensorMap } from '../../core/host-tensor.ts';
import { canonicalJson, parseJson } from '../../core/json.ts';
import { readSafetensors, toFloat32, writeSafetensors } from '../../core/safetensors.ts';
import type { AdamWState } from './adamw.ts';

/**
 * Training half-way: weights, both moments and the step. Sampling, schedule and dropout are functions of seed and step,
 * so this is the whole state.
 */
export interface Checkpoint {
  readonly optimizer: AdamWState;
  readonly seed: number;
  readonly steps: number;
  /** Digests of everything that the run depends on, by what they are of. */
  readonly identity: Readonly<Record<string, string>>;
}

const FORMAT = 1;
const PARTS = ['weights', 'first', 'second'] as const;
const metadata = z.strictObject({
  format: z.literal(FORMAT),
  step: z.int().nonnegative(),
  steps: z.int().positive(),
  seed: z.number(),
  identity: z.record(z.string(), z.string()),
  digest: z.string(),
});

/** One safetensors file: tensors `weights/…`, `first/…`, `second/…`, and JSON under the metadata key `checkpoint`. */
export function writeCheckpoint({ optimizer, seed, steps, identity }: Checkpoint): Uint8Array {
  const tensors: TensorMap = new Map();
  for (const part of PARTS) for (const [key, tensor] of optimizer[part]) tensors.set(`${part}/${key}`, tensor);
  const about = { format: FORMAT, step: optimizer.step, steps, seed, identity };
  const json = canonicalJson({ ...about, digest: contentDigest(canonicalJson(about), tensors) });
  return writeSafetensors(tensors, { checkpoint: json });
}

/**
 * Reads a checkpoint of exactly this run. A damaged file is an `IntegrityError`; one of another run is `BadConfig`, and
 * the message names the first entry of the identity that differs. `file` is only used in messages.
 */
export function readCheckpoint(
  bytes: Uint8Array,
  expected: Readonly<Record<string, string>>,
  file = 'checkpoint',
): Checkpoint {
  const read = readSafetensors(bytes, file);
  const damaged = (problem: string, cause?: unknown) =>
    new LiloraError('IntegrityError', `${file}: ${problem}. Delete it and go on from an older one.`, { cause });
  const about = metadata.safeParse(parseJson(read.metadata.checkpoint ?? 'null', file));
  if (!about.success) throw damaged('not a training checkpoint of this version', about.error);
  const { digest, ...rest } = about.data;
  const tensors: TensorMap = new Map();
  for (const [key, raw] of read.tensors) tensors.set(key, { shape: raw.shape, data: toFloat32(raw, key, file) });
  if (contentDigest(canonicalJson(rest), tensors) !== digest) throw damaged('its content does not match its digest');
  for (const name of new Set([...Object.keys(expected), ...Object.keys(rest.identity)])) {
    const [found, wanted] = [rest.identity[name] ?? 'nothing', expected[name] ?? 'nothing'];
    if (found !== wanted) {
      const problem = `it belongs to another run: ${name} was ${found} and is ${wanted} now`;
      throw new LiloraError('BadConfig', `${file}: ${problem}. Delete it to start the task anew.`);
    }
  }
  const part = (name: string): TensorMap => {
    const own = [...tensors].filter(([key]) => key.startsWith(`${name}/`));
    return new Map(own.map(([key, tensor]) => [key.slice(name.length + 1), tensor]));
  };
  const optimizer = { step: rest.step, weights: part('weights'), first: part('first'), second: part('second') };
  return { optimizer, seed: rest.seed, steps: rest.steps, identity: rest.identity };
}

function contentDigest(about: string, tensors: TensorMap): string {
  const hash = createHash('sha256').update(about);
  for (const key of [...tensors.keys()].sort()) {
    const { shape, data }: HostTensor = tensors.get(key)!;
    hash.update(`\n${key} ${shape.join()}\n`).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest('hex');
}
