import type { FileHandle } from 'node:fs/promises';
import { LiloraError } from './errors.ts';
import { openFile, readAt } from './files.ts';
import { LARGEST_POINTER, refusePointer } from './git-lfs.ts';
import { narrowToBfloat16, narrowToFloat16, widenBfloat16, widenFloat16 } from './half-floats.ts';
import { type HostTensor, sizeOf, type TensorMap } from './host-tensor.ts';
import { DTYPE_BYTES, type Dtype, damaged, headerLength, parseHeader, type TensorInfo } from './safetensors-header.ts';

export type { Dtype, TensorInfo } from './safetensors-header.ts';

/** The elements of a tensor as they lie in the file. F16 and BF16 are kept as their 16 bits, BOOL as bytes 0 and 1. */
export type RawData =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint16Array
  | Uint8Array;

/** A tensor with its own element type, row-major. */
export interface RawTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: RawData;
}

const ARRAYS = {
  BOOL: Uint8Array,
  U8: Uint8Array,
  I8: Int8Array,
  I16: Int16Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I32: Int32Array,
  F32: Float32Array,
  F64: Float64Array,
  I64: BigInt64Array,
} as const;

/** How the bytes of an element type are held; numbers that are not read stay bytes. */
const arrayOf = (dtype: Dtype) => (Object.hasOwn(ARRAYS, dtype) ? ARRAYS[dtype as keyof typeof ARRAYS] : Uint8Array);

const SORT_ORDER = Object.keys(DTYPE_BYTES);

/**
 * Reads a whole safetensors file. Every tensor is a copy, so `bytes` may be freed. A file that is damaged or made to
 * harm is an `IntegrityError` that names the file and the tensor. `file` is only used in messages.
 */
export function readSafetensors(
  bytes: Uint8Array,
  file: string,
): { tensors: Map<string, RawTensor>; metadata: Record<string, string> } {
  refusePointer(bytes, file);
  const length = headerLength(bytes.subarray(0, 8), bytes.byteLength, file);
  const header = parseHeader(bytes.subarray(8, 8 + length), bytes.byteLength, file);
  const tensors = new Map<string, RawTensor>();
  for (const [name, info] of header.tensors) {
    tensors.set(name, toRaw(bytes.slice(info.begin, info.end), name, info, file));
  }
  return { tensors, metadata: header.metadata };
}

/** Reads a whole file of floating-point tensors, widened to float32 (F64 is rounded). Other types are refused by name. */
export function readTensorMap(bytes: Uint8Array, file: string): TensorMap {
  const result: TensorMap = new Map();
  for (const [name, raw] of readSafetensors(bytes, file).tensors) {
    result.set(name, { shape: raw.shape, data: toFloat32(raw, name, file) });
  }
  return result;
}

function toRaw(own: Uint8Array, name: string, { dtype, shape }: TensorInfo, file: string): RawTensor {
  if (dtype === 'BOOL' && own.some((byte) => byte > 1)) {
    throw damaged(file, `tensor ${JSON.stringify(name)} of type BOOL holds a byte other than 0 and 1`);
  }
  const array = arrayOf(dtype);
  const data = new array(own.buffer as ArrayBuffer, own.byteOffset, own.byteLength / array.BYTES_PER_ELEMENT);
  return { dtype, shape, data };
}

/** The numbers of a floating-point tensor as float32; a tensor of another type is refused. */
export function toFloat32(raw: RawTensor, name: string, file: string): Float32Array {
  if (raw.dtype === 'F32') return raw.data as Float32Array;
  if (raw.dtype === 'F16') return widenFloat16(raw.data as Uint16Array);
  if (raw.dtype === 'BF16') return widenBfloat16(raw.data as Uint16Array);
  if (raw.dtype === 'F64') return Float32Array.from(raw.data as Float64Array);
  throw new LiloraError(
    'IntegrityError',
    `${file}: tensor ${JSON.stringify(name)} holds ${raw.dtype}, but floating-point numbers are needed here. Check that this is the right file.`,
  );
}

/**
 * The bytes of a safetensors file. Plain tensors are written as `dtype`, raw ones as their own type. The same content
 * gives the same bytes: metadata sorted by key, tensors as the reference sorts them (element type, then name), the
 * header padded with spaces to a multiple of 8.
 */
export function writeSafetensors(
  tensors: ReadonlyMap<string, HostTensor | RawTensor>,
  metadata: Readonly<Record<string, string>> = {},
  dtype: 'F32' | 'F16' | 'BF16' = 'F32',
): Uint8Array {
  const raws = new Map([...tensors].map(([name, tensor]) => [name, toStored(name, tensor, dtype)]));
  const { names, head, bytes } = layOut(
    new Map([...raws].map(([name, raw]) => [name, { ...raw, bytes: raw.data.byteLength }])),
    metadata,
  );
  const out = new Uint8Array(bytes);
  out.set(head);
  let at = head.byteLength;
  for (const name of names) {
    const { data } = raws.get(name)!;
    out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return out;
}

/** How a file is laid out: the order in which its tensors follow its head, and its size in bytes. */
export interface Layout {
  readonly names: readonly string[];
  readonly head: Uint8Array;
  readonly bytes: number;
}

/** The layout that `writeSafetensors` gives tensors of these sizes, for files that are written piece by piece. */
export function layOut(
  tensors: ReadonlyMap<string, Pick<RawTensor, 'dtype' | 'shape'> & { readonly bytes: number }>,
  metadata: Readonly<Record<string, string>>,
): Layout {
  const sorted = [...tensors].sort(byTypeThenName);
  const entries: string[] = [];
  if (Object.keys(metadata).length > 0) {
    const pairs = Object.keys(metadata).sort();
    entries.push(
      `"__metadata__":{${pairs.map((k) => `${JSON.stringify(k)}:${JSON.stringify(metadata[k])}`).join(',')}}`,
    );
  }
  let end = 0;
  for (const [name, { dtype, shape, bytes }] of sorted) {
    const begin = end;
    end += bytes;
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
  }
  const json = Buffer.from(`{${entries.join(',')}}`, 'utf8');
  const head = new Uint8Array(8 + Math.ceil(json.byteLength / 8) * 8).fill(0x20, 8);
  new DataView(head.buffer).setBigUint64(0, BigInt(head.byteLength - 8), true);
  head.set(json, 8);
  return { names: sorted.map(([name]) => name), head, bytes: head.byteLength + end };
}

type Typed = readonly [string, Pick<RawTensor, 'dtype'>];

function byTypeThenName([nameA, a]: Typed, [nameB, b]: Typed): number {
  const byType = SORT_ORDER.indexOf(b.dtype) - SORT_ORDER.indexOf(a.dtype);
  return byType !== 0 ? byType : Buffer.compare(Buffer.from(nameA), Buffer.from(nameB));
}

function toStored(name: string, tensor: HostTensor | RawTensor, dtype: 'F32' | 'F16' | 'BF16'): RawTensor {
  const raw: RawTensor = 'dtype' in tensor ? tensor : { dtype: 'F32', shape: tensor.shape, data: tensor.data };
  const what = `tensor ${JSON.stringify(name)}`;
  if (name === '__metadata__') throw new LiloraError('BadConfig', 'A tensor may not be named __metadata__. Rename it.');
  if (!(raw.data instanceof arrayOf(raw.dtype)) || raw.data.length !== sizeOf(raw.shape)) {
    const problem = `${what}: ${raw.data.length} elements do not fit ${raw.dtype} of shape [${raw.shape}]`;
    throw new LiloraError('BadConfig', `${problem}. Mend the code that made it.`);
  }
  if ('dtype' in tensor || dtype === 'F32') return raw;
  const narrow = dtype === 'F16' ? narrowToFloat16 : narrowToBfloat16;
  return { dtype, shape: raw.shape, data: narrow(raw.data as Float32Array) };
}

/** An open safetensors file that is read one tensor at a time. The whole header is checked when it opens. */
export class SafetensorsFile {
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  private readonly handle: FileHandle;
  private readonly tensors: Map<string, TensorInfo>;

  private constructor(
    path: string,
    handle: FileHandle,
    header: { tensors: Map<string, TensorInfo>; metadata: Record<string, string> },
  ) {
    this.path = path;
    this.handle = handle;
    this.tensors = header.tensors;
    this.metadata = header.metadata;
  }

  /** Opens and checks a file. `NotFound` when there is none, `IntegrityError` when it is unsound. */
  static async open(path: string): Promise<SafetensorsFile> {
    const handle = await openFile(path);
    try {
      const { size } = await handle.stat();
      const prefix = await readAt(handle, 0, Math.min(8, size), path);
      if (size < LARGEST_POINTER) refusePointer(await readAt(handle, 0, size, path), path);
      const json = await readAt(handle, 8, headerLength(prefix, size, path), path);
      return new SafetensorsFile(path, handle, parseHeader(json, size, path));
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Tensor names in the order of the header. */
  names(): string[] {
    return [...this.tensors.keys()];
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  /** Element type, shape and place of a tensor. */
  info(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (!info) throw new LiloraError('NotFound', `${this.path}: no tensor ${JSON.stringify(name)}. Check the model.`);
    return info;
  }

  /** One tensor with its own element type: for BF16 weights that stay BF16. */
  async readRaw(name: string): Promise<RawTensor> {
    const info = this.info(name);
    return toRaw(await readAt(this.handle, info.begin, info.end - info.begin, this.path), name, info, this.path);
  }

  /** One floating-point tensor, row-major, widened to float32. */
  async readFloat(name: string): Promise<Float32Array> {
    return toFloat32(await this.readRaw(name), name, this.path);
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}
