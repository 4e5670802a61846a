import { DEFAULTS } from '../../core/defaults.ts';
import { MOST_PLACES } from './numbers.ts';

/* The metadata of Arrow messages are FlatBuffers, whose lengths and offsets a reader believes. Here they are checked first. */

/** What a message is, and how many bytes follow its metadata. */
export interface ArrowHeader {
  readonly kind: 'schema' | 'dictionary' | 'rows' | null;
  readonly body: number;
}

const damaged = () => new Error('the metadata of a message are damaged');

/**
 * Kind and body length of a message, once everything that its metadata count and point to lies within it: fields of the
 * schema, columns and buffers of a batch ([Message.fbs](https://github.com/apache/arrow/blob/main/format/Message.fbs),
 * [Schema.fbs](https://github.com/apache/arrow/blob/main/format/Schema.fbs)). Throws for one that is damaged.
 */
export function checkedHeader(bytes: Uint8Array): ArrowHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const message = new FlatTable(view, indirect(view, 0));
  const header = message.table(2);
  const body = Number(message.int64(3));
  if (!(body >= 0)) throw damaged();
  switch (message.uint8(1)) {
    case 1:
      checkSchema(header);
      return { kind: 'schema', body };
    case 2:
      checkBatch(header?.table(1) ?? null, body);
      return { kind: 'dictionary', body };
    case 3:
      checkBatch(header, body);
      return { kind: 'rows', body };
    default:
      return { kind: null, body };
  }
}

function checkSchema(schema: FlatTable | null): void {
  if (!schema) throw damaged();
  if ((schema.int16(0) ?? 0) !== 0) throw new Error('numbers are big-endian');
  checkTexts(schema, 2);
  let fields = 0;
  const visit = (field: FlatTable, depth: number) => {
    if (depth > 64 || ++fields > 100_000) throw damaged();
    checkTexts(field, 6);
    // Unions hold a list of numbers; they are no columns of samples.
    if (field.uint8(2) === 14) throw new Error('a column of unions');
    const type = field.table(3);
    // Places of a decimal and items of a list of fixed size are worked with before any value is read.
    const places = field.uint8(2) === 7 ? Math.abs(type?.int32(1) ?? 0) : 0;
    const items = field.uint8(2) === 16 ? (type?.int32(0) ?? 0) : 0;
    if (places > MOST_PLACES || items < 0 || items > DEFAULTS['dataset.maxSamples'].value) throw damaged();
    for (const child of field.tables(5)) visit(child, depth + 1);
  };
  for (const field of schema.tables(1)) visit(field, 0);
}

function checkTexts(table: FlatTable, index: number): void {
  for (const _ of table.tables(index));
}

function checkBatch(batch: FlatTable | null, body: number): void {
  if (!batch) throw damaged();
  const [mostRows, mostBytes] = [DEFAULTS['dataset.maxSamples'].value, DEFAULTS['dataset.maxUnpackedBytes'].value];
  const rows = Number(batch.int64(0));
  if (!(rows >= 0)) throw damaged();
  if (rows > mostRows) throw new Error(`a batch of it has ${rows} rows, over the limit of ${mostRows}`);
  let values = 0;
  for (const [length] of batch.pairs(1)) {
    if (!(length >= 0)) throw damaged();
    values += length;
  }
  if (values > 20 * mostRows) throw new Error(`a batch of it holds over ${20 * mostRows} values`);
  const buffers = batch.pairs(2);
  let held = 0;
  for (const [at, length] of buffers) {
    if (!(at >= 0 && length >= 0 && at + length <= body)) throw damaged();
    held += length;
  }
  if (held > mostBytes) throw new Error(`a batch of it holds over ${mostBytes} bytes`);
  const views = batch.int64s(4).reduce((sum, count) => (count >= 0 ? sum + count : Number.NaN), 0);
  if (!(views <= buffers.length)) throw damaged();
}

/** Where the offset that stands at a place points to. */
function indirect(view: DataView, at: number): number {
  if (at + 4 > view.byteLength) throw damaged();
  return at + view.getUint32(at, true);
}

/** A table of a FlatBuffer; every place is checked before it is read. */
class FlatTable {
  private readonly view: DataView;
  private readonly at: number;
  private readonly places: number;
  private readonly size: number;

  constructor(view: DataView, at: number) {
    if (at + 4 > view.byteLength) throw damaged();
    const places = at - view.getInt32(at, true);
    if (!(places >= 0 && places + 4 <= view.byteLength)) throw damaged();
    const size = view.getUint16(places, true);
    if (size % 2 !== 0 || size >= 2 ** 15 || places + size > view.byteLength) throw damaged();
    this.view = view;
    this.at = at;
    this.places = places;
    this.size = size;
  }

  private field(index: number, bytes: number): number | null {
    const place = 4 + 2 * index;
    const offset = place < this.size ? this.view.getInt16(this.places + place, true) : 0;
    if (offset === 0) return null;
    if (offset < 0 || this.at + offset + bytes > this.view.byteLength) throw damaged();
    return this.at + offset;
  }

  uint8(index: number): number | null {
    const at = this.field(index, 1);
    return at === null ? null : this.view.getUint8(at);
  }

  int16(index: number): number | null {
    const at = this.field(index, 2);
    return at === null ? null : this.view.getInt16(at, true);
  }

  int32(index: number): number | null {
    const at = this.field(index, 4);
    return at === null ? null : this.view.getInt32(at, true);
  }

  int64(index: number): bigint {
    const at = this.field(index, 8);
    return at === null ? 0n : this.view.getBigInt64(at, true);
  }

  table(index: number): FlatTable | null {
    const at = this.field(index, 4);
    return at === null ? null : new FlatTable(this.view, indirect(this.view, at));
  }

  private vector(index: number, stride: number): number[] {
    const field = this.field(index, 4);
    if (field === null) return [];
    const at = indirect(this.view, field);
    if (at + 4 > this.view.byteLength) throw damaged();
    const length = this.view.getUint32(at, true);
    if (at + 4 + length * stride > this.view.byteLength) throw damaged();
    return Array.from({ length }, (_, i) => at + 4 + i * stride);
  }

  tables(index: number): FlatTable[] {
    return this.vector(index, 4).map((at) => new FlatTable(this.view, indirect(this.view, at)));
  }

  int64s(index: number): number[] {
    return this.vector(index, 8).map((at) => Number(this.view.getBigInt64(at, true)));
  }

  pairs(index: number): Array<readonly [number, number]> {
    const read = (at: number) => Number(this.view.getBigInt64(at, true));
    return this.vector(index, 16).map((at) => [read(at), read(at + 8)] as const);
  }
}
