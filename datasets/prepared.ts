import { LiloraError } from '../core/errors.ts';
import { canonicalJson, parseJson } from '../core/json.ts';
import { type RawTensor, readSafetensors, writeSafetensors } from '../core/safetensors.ts';
import type { Sample } from '../core/sample.ts';

const FORMAT = 'lilora-split-v1';
const SAMPLES = 'samples';
const IMAGE = 'image/';

/**
 * One split as training and evaluation read it: a single file with the samples (JSON) and every image that they need,
 * encoded as it came, by digest. The same content gives the same bytes.
 * @param images encoded images by SHA-256; more than this split needs may be there
 */
export function packSplit(samples: readonly Sample[], images: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const tensors = new Map<string, RawTensor>([[SAMPLES, raw(Buffer.from(canonicalJson(samples)))]]);
  for (const digest of new Set(samples.flatMap((sample) => sample.images))) {
    const bytes = images.get(digest);
    if (!bytes) throw new LiloraError('IntegrityError', `Image ${digest} of the split is not at hand.`);
    tensors.set(IMAGE + digest, raw(bytes));
  }
  return writeSafetensors(tensors, { format: FORMAT });
}

const raw = (bytes: Uint8Array): RawTensor => ({ dtype: 'U8', shape: [bytes.byteLength], data: bytes });

/** Reads what `packSplit` wrote. `file` is only used in messages. */
export function unpackSplit(bytes: Uint8Array, file: string): { samples: Sample[]; images: Map<string, Uint8Array> } {
  const { tensors, metadata } = readSafetensors(bytes, file);
  const text = tensors.get(SAMPLES)?.data;
  if (metadata['format'] !== FORMAT || !(text instanceof Uint8Array))
    throw new LiloraError('IntegrityError', `${file} is no packed split (${FORMAT}). Submit the dataset again.`);
  const samples = parseJson(text, file) as Sample[];
  const images = new Map<string, Uint8Array>();
  for (const [name, { data }] of tensors)
    if (name.startsWith(IMAGE)) images.set(name.slice(IMAGE.length), data as Uint8Array);
  return { samples, images };
}
