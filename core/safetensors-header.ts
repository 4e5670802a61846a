import { LiloraError } from './errors.ts';
import { sizeOf } from './host-tensor.ts';
import { parseJson } from './json.ts';

/**
 * The element types of the format, with their size in bytes, in the order in which the reference sorts them. Those of
 * 8 bits and fewer that are no integers are the work of quantizers: their bytes are known, their numbers are not read.
 */
export const DTYPE_BYTES = {
  ...{ BOOL: 1, F4: 0.5, F6_E2M3: 0.75, F6_E3M2: 0.75, U8: 1, I8: 1, F8_E5M2: 1, F8_E4M3: 1, F8_E5M2FNUZ: 1 },
  ...{ F8_E4M3FNUZ: 1, F8_E8M0: 1, I16: 2, U16: 2, F16: 2, BF16: 2, I32: 4, U32: 4, F32: 4, C64: 8, F64: 8 },
  ...{ I64: 8, U64: 8 },
} as const;

export type Dtype = keyof typeof DTYPE_BYTES;

/** Where one tensor lies: `begin` and `end` count bytes from the start of the file. */
export interface TensorInfo {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly tensors: Map<string, TensorInfo>;
  readonly metadata: Record<string, string>;
}

/** The reference implementation's limit. */
const MAX_HEADER_BYTES = 100_000_000;

/** A damaged or hostile safetensors file. */
export function damaged(file: string, problem: string): LiloraError {
  return new LiloraError(
    'IntegrityError',
    `${file}: not a sound safetensors file: ${problem}. Fetch or write it again.`,
  );
}

/** Length of the JSON header from the file's first 8 bytes, checked against the file's size. */
export function headerLength(prefix: Uint8Array, fileSize: number, file: string): number {
  if (fileSize < 8 || prefix.byteLength < 8) throw damaged(file, `${fileSize} bytes are too few to hold a header`);
  const view = new DataView(prefix.buffer, prefix.byteOffset, 8);
  const length = view.getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES))
    throw damaged(file, `its header says ${length} bytes, over ${MAX_HEADER_BYTES}`);
  if (Number(length) > fileSize - 8) throw damaged(file, `its header of ${length} bytes reaches beyond the file's end`);
  return Number(length);
}

/**
 * Reads and checks a header (format: https://github.com/huggingface/safetensors): tensors must cover the rest of the
 * file exactly, without overlap or hole, and each one's shape and element type must fill its bytes exactly.
 */
export function parseHeader(json: Uint8Array, fileSize: number, file: string): Header {
  if (json[0] !== 0x7b) throw damaged(file, 'its header does not start with "{"');
  const options = { maxBytes: MAX_HEADER_BYTES, maxDepth: 4 } as const;
  const parsed = parseJson(json, `${file} (header)`, options) as Record<string, unknown>;
  const start = 8 + json.byteLength;
  const tensors = new Map<string, TensorInfo>();
  let metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(parsed)) {
    if (name === '__metadata__') metadata = checkMetadata(entry, file);
    else tensors.set(name, checkTensor(name, entry, start, file));
  }
  checkCoverage(tensors, start, fileSize, file);
  return { tensors, metadata };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkMetadata(entry: unknown, file: string): Record<string, string> {
  if (!isRecord(entry)) throw damaged(file, '__metadata__ is not an object');
  for (const [key, value] of Object.entries(entry)) {
    if (typeof value !== 'string') throw damaged(file, `__metadata__ ${JSON.stringify(key)} is not a string`);
  }
  return entry as Record<string, string>;
}

function isIndex(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0);
}

function checkTensor(name: string, entry: unknown, start: number, file: string): TensorInfo {
  const bad = (problem: string) => damaged(file, `tensor ${JSON.stringify(name)} ${problem}`);
  if (!isRecord(entry)) throw bad('is not an object');
  const extra = Object.keys(entry).find((key) => !['dtype', 'shape', 'data_offsets'].includes(key));
  if (extra !== undefined) throw bad(`has the unknown field ${JSON.stringify(extra)}`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype)) {
    throw bad(`has the element type ${JSON.stringify(dtype)}; known are ${Object.keys(DTYPE_BYTES).join(', ')}`);
  }
  if (!Array.isArray(shape) || !shape.every(isIndex)) throw bad('has a shape that is not a list of whole numbers');
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isIndex)) throw bad('has broken data_offsets');
  const [begin, end] = offsets as [number, number];
  if (begin > end) throw bad('ends before it begins');
  const bytes = Math.ceil(sizeOf(shape) * DTYPE_BYTES[dtype as Dtype]);
  // A product that once passed 2^53 cannot come back below it, except by a zero: an empty tensor.
  if (!Number.isSafeInteger(bytes)) throw bad(`has a shape [${shape}] that is too large`);
  if (bytes !== end - begin) throw bad(`of shape [${shape}] and ${dtype} needs ${bytes} bytes but has ${end - begin}`);
  return { dtype: dtype as Dtype, shape, begin: start + begin, end: start + end };
}

function checkCoverage(tensors: Map<string, TensorInfo>, start: number, fileSize: number, file: string): void {
  const sorted = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let at = start;
  for (const [name, { begin, end }] of sorted) {
    if (begin < at) throw damaged(file, `tensor ${JSON.stringify(name)} overlaps another one`);
    if (begin > at)
      throw damaged(file, `${begin - at} bytes before tensor ${JSON.stringify(name)} belong to no tensor`);
    at = end;
  }
  if (at > fileSize) throw damaged(file, `it is cut off: ${fileSize} bytes of ${at}`);
  if (at < fileSize) throw damaged(file, `${fileSize - at} bytes at its end belong to no tensor`);
}
