import { type Column, CompressionType, setCompressionCodec, type Table, Type, tableFromIPC } from '@uwdata/flechette';
import { decompress as zstd } from 'fzstd';
import { DEFAULTS } from '../../core/defaults.ts';
import { dateText, decimal, double, float32, timestampText, wholeNumber } from './numbers.ts';

/** What may still be unpacked of the messages at hand. Reading them is one step, so there is one such number. */
let left = 0;

setCompressionCodec(CompressionType.ZSTD, {
  decode(bytes: Uint8Array, length?: number) {
    if (length === undefined || length < 0 || length > left)
      throw new Error(`unpacked, it is over the limit of ${DEFAULTS['dataset.maxUnpackedBytes'].value} bytes`);
    left -= length;
    return zstd(bytes, new Uint8Array(length));
  },
  encode: (bytes: Uint8Array) => bytes,
});

/**
 * The rows of one batch as objects, their values as they were written: texts whole, 64-bit integers, decimals and float32 as
 * the numbers they are. Throws for a batch that is damaged.
 * @param messages schema, dictionaries and the batch itself, each whole
 */
export function* rowsOfBatch(messages: Uint8Array[]): Generator<Record<string, unknown>> {
  left = DEFAULTS['dataset.maxUnpackedBytes'].value;
  const table = tableFromIPC(messages, { useBigInt: true, useDecimalInt: true, useBigIntTimestamp: true });
  const columns = table.children.map((column, i) => ({ name: table.schema.fields[i]!.name, batch: batchOf(column) }));
  for (const { batch } of columns) if (batch) prepare(batch, table.numRows);
  for (let row = 0; row < table.numRows; row++)
    yield Object.fromEntries(columns.map(({ name, batch }) => [name, batch ? batch.at(row) : null]));
}

/** What a schema says of its file besides columns. */
export function metadataOfSchema(schema: Uint8Array): ReadonlyMap<string, string> {
  const table: Table = tableFromIPC([schema]);
  return table.schema.metadata ?? new Map();
}

interface RawBatch {
  length: number;
  values?: ArrayLike<number | bigint> & { subarray?(start: number, end: number): Uint8Array };
  offsets?: ArrayLike<number | bigint>;
  sizes?: ArrayLike<number | bigint>;
  children?: RawBatch[];
  dictionary?: Column<unknown>;
  type: { typeId: number; unit?: number; precision?: number; scale?: number; bitWidth?: number; stride?: number };
  at(index: number): unknown;
  value(index: number): unknown;
  slice(start: number, end: number): unknown;
  key?(index: number): number;
  view?(index: number): Uint8Array;
}

const batchOf = (column: Column<unknown>) => column.data[0] as unknown as RawBatch | undefined;

const damaged = () => new Error('a column is damaged');

/** Checks a column before it is read, and lets it give values as they were written. */
function prepare(batch: RawBatch, rows: number): void {
  if (!(batch.length >= rows)) throw damaged();
  checkNumber(batch.length);
  checkPlaces(batch);
  const { typeId } = batch.type;
  if (typeId === Type.Union || typeId === Type.RunEndEncoded) throw new Error('a column of unions or runs');
  const exact = exactValue(batch);
  if (exact) batch.value = exact;
  // Lists are arrays, of whatever they are.
  batch.slice = (start, end) => Array.from({ length: end - start }, (_, i) => batch.at(start + i));
  const each = typeId === Type.FixedSizeList ? (batch.type.stride ?? 0) : 1;
  const isList = batch.offsets !== undefined;
  for (const child of batch.children ?? []) prepare(child, isList ? 0 : batch.length * each);
  if (!batch.dictionary) return;
  const { dictionary } = batch;
  for (const part of dictionary.data as unknown as RawBatch[]) prepare(part, part.length);
  batch.value = (index) => dictionary.at(batch.key!(index));
}

function checkNumber(values: number): void {
  const most = 20 * DEFAULTS['dataset.maxSamples'].value;
  if (values > most) throw new Error(`a batch of it holds over ${most} values`);
}

/** Offsets rise and stay within what they point into. */
function checkPlaces({ length, offsets, sizes, values, children, type }: RawBatch): void {
  if (length === 0) return;
  if (!offsets) {
    const isPlain = values !== undefined && type.typeId !== Type.Bool && type.typeId !== Type.FixedSizeBinary;
    if (isPlain && type.typeId !== Type.Decimal && values.length < length) throw damaged();
    return;
  }
  const end = children?.[0]?.length ?? values?.length ?? 0;
  if (sizes) {
    for (let i = 0; i < length; i++) {
      const [at, size] = [Number(offsets[i]), Number(sizes[i])];
      if (!(at >= 0 && size >= 0 && at + size <= end)) throw damaged();
    }
    return;
  }
  if (offsets.length < length + 1) throw damaged();
  let before = Number(offsets[0]);
  if (!(before >= 0)) throw damaged();
  for (let i = 1; i <= length; i++) {
    const at = Number(offsets[i]);
    if (!(at >= before)) throw damaged();
    before = at;
  }
  if (before > end) throw damaged();
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Nanoseconds of a unit: seconds, milliseconds, microseconds, nanoseconds. */
const UNITS = [1_000_000_000n, 1_000_000n, 1000n, 1n];

/** How a value of a type is read so that nothing of it is lost; null where that is so already. */
function exactValue(batch: RawBatch): ((index: number) => unknown) | null {
  const { type, values, offsets } = batch;
  const plain = batch.value.bind(batch);
  switch (type.typeId) {
    case Type.Utf8:
    case Type.LargeUtf8:
      return (i) => decoder.decode(values!.subarray!(Number(offsets![i]), Number(offsets![i + 1])));
    case Type.Utf8View:
      return (i) => decoder.decode(batch.view!(i));
    case Type.Int:
      return type.bitWidth === 64 ? (i) => wholeNumber(BigInt(values![i]!)) : null;
    case Type.Float:
      return type.precision === 2 ? (i) => double(Number(values![i])) : (i) => float32(Number(plain(i)));
    case Type.Decimal:
      return (i) => decimal(BigInt(plain(i) as bigint | number), type.scale ?? 0);
    case Type.Timestamp:
      return (i) => timestampText(BigInt(values![i]!) * UNITS[type.unit ?? 0]!);
    case Type.Date:
      return type.unit === 0
        ? (i) => dateText(Number(values![i]))
        : (i) => dateText(Math.floor(Number(values![i]) / 86_400_000));
    default:
      return null;
  }
}
