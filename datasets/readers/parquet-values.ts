import type { FileMetaData, SchemaTree } from 'hyparquet';
import { isObject } from '../forms/values.ts';
import { bad } from './each.ts';
import {
  dateText,
  decimal,
  double,
  float32,
  MOST_PLACES,
  signedNumber,
  timestampText,
  wholeNumber,
} from './numbers.ts';

/* Values of Parquet as they were written: texts whole, 64-bit integers, decimals with their places, float32, dates. */

/** Refuses decimals that no memory could hold. */
export function checkDecimals({ schema }: FileMetaData, path: string): void {
  for (const { name, scale = 0 } of schema)
    if (Math.abs(scale) > MOST_PLACES)
      throw bad(`${path}: column ${name} has decimals of ${scale} places. Write texts.`);
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Texts as they are: what is no UTF-8 is refused, and a byte order mark at their beginning is part of them. */
const textOf = (bytes: Uint8Array | undefined) => bytes && decoder.decode(bytes);
const absent = <T>(value: T | null | undefined, read: (value: T) => unknown) =>
  value === undefined || value === null ? value : read(value);
/** Texts, dates and times; what is not there stays so. */
export const PARSERS = {
  stringFromBytes: textOf,
  jsonFromBytes: textOf,
  dateFromDays: (days: number) => absent(days, dateText),
  timestampFromMilliseconds: (value: bigint) => absent(value, (each) => timestampText(BigInt(each) * 1_000_000n)),
  timestampFromMicroseconds: (value: bigint) => absent(value, (each) => timestampText(BigInt(each) * 1000n)),
  timestampFromNanoseconds: (value: bigint) => absent(value, (each) => timestampText(BigInt(each))),
};

type Element = FileMetaData['schema'][number];

const isDecimal = ({ converted_type, logical_type }: Element) =>
  converted_type === 'DECIMAL' || logical_type?.type === 'DECIMAL';

/** Decimals are read as they are stored, for the reader of Parquet would make doubles of them. */
export function asStored(element: Element): Element {
  if (!isDecimal(element)) return element;
  const { converted_type: _, logical_type: __, ...plain } = element;
  return plain;
}

/** A value with its numbers as they were written, by the schema of its column. */
export function exact(value: unknown, node: SchemaTree): unknown {
  if (value === null || value === undefined) return null;
  if (typeof value === 'bigint' && !isDecimal(node.element)) return wholeNumber(value);
  if (Array.isArray(value)) {
    const item = node.children.length > 0 ? itemOf(node) : node;
    return value.map((each: unknown) => exact(each, item));
  }
  if (node.children.length === 0) return leaf(value, node.element);
  if (!isObject(value) || value instanceof Uint8Array) return value;
  const byName = new Map(node.children.map((child) => [child.element.name, child]));
  const isMap = node.element.converted_type === 'MAP' || node.element.logical_type?.type === 'MAP';
  const inMap = isMap ? node.children[0]?.children[1] : undefined;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => {
      const child = inMap ?? byName.get(name);
      return [name, child ? exact(each, child) : each];
    }),
  );
}

/** Of a list of three levels the item; of others the node itself, whose repeated group is the item. */
function itemOf(node: SchemaTree): SchemaTree {
  const isList = node.element.converted_type === 'LIST' || node.element.logical_type?.type === 'LIST';
  const [repeated] = node.children;
  if (!isList || !repeated) return node;
  return repeated.children.length === 1 ? repeated.children[0]! : repeated;
}

function leaf(value: unknown, element: Element): unknown {
  if (isDecimal(element)) {
    const scale = element.scale ?? 0;
    if (value instanceof Uint8Array) return decimal(signedNumber(value), scale);
    return typeof value === 'number' || typeof value === 'bigint' ? decimal(BigInt(value), scale) : value;
  }
  if (typeof value !== 'number') return value;
  return element.type === 'FLOAT' || element.logical_type?.type === 'FLOAT16' ? float32(value) : double(value);
}
