import { parseJson } from '../../core/json.ts';
import type { At } from '../forms/form.ts';
import { readSample } from '../forms/read-sample.ts';
import { isObject, NoClass } from '../forms/values.ts';
import type { Manifest } from '../manifest.ts';
import type { ReadSample } from './reader.ts';

/** What Hugging Face `datasets` says of a column; null for what needs no care. */
type Feature =
  | { readonly kind: 'image' }
  | { readonly kind: 'class'; readonly names: readonly string[] }
  | { readonly kind: 'list'; readonly of: Feature }
  | { readonly kind: 'struct'; readonly fields: ReadonlyMap<string, Feature> }
  | null;

/** Columns by name that hold pictures or class numbers, at whatever depth. */
export type Features = ReadonlyMap<string, Feature>;

/**
 * The description that `datasets` writes into Parquet and Arrow files, as `huggingface` among their metadata; empty when there
 * is none.
 * @param file names it in messages
 */
export function featuresOf(text: string | undefined, file: string): Features {
  if (text === undefined) return new Map();
  const described = parseJson(text, `${file} (huggingface)`, { errorName: 'BadDataset', anyKeys: true });
  const info = isObject(described) && isObject(described['info']) ? described['info'] : {};
  return fieldsOf(info['features']);
}

function fieldsOf(value: unknown): Map<string, Feature> {
  const found = Object.entries(isObject(value) ? value : {}).map(([name, each]) => [name, featureOf(each)] as const);
  return new Map(found.filter(([, feature]) => feature !== null));
}

function featureOf(value: unknown): Feature {
  if (Array.isArray(value)) return listOf(featureOf(value[0]));
  if (!isObject(value)) return null;
  const type = value['_type'];
  if (type === 'Image') return { kind: 'image' };
  if (type === 'ClassLabel')
    return Array.isArray(value['names']) ? { kind: 'class', names: value['names'].map(String) } : null;
  if (type === 'Sequence' || type === 'List' || type === 'LargeList') return listOf(featureOf(value['feature']));
  if (typeof type === 'string') return null;
  const fields = fieldsOf(value);
  return fields.size > 0 ? { kind: 'struct', fields } : null;
}

const listOf = (of: Feature): Feature => of && { kind: 'list', of };

/** A sample in a row of a table, by what the table says of its columns. */
export function readRow(row: Record<string, unknown>, at: At, manifest: Manifest, features: Features): ReadSample {
  const cells = Object.entries(row).map(([name, cell]) => [name, named(cell, features.get(name) ?? null)]);
  return readSample(
    Object.fromEntries(cells),
    { ...at, imageColumns: imageColumns(features), isTable: true },
    manifest,
  );
}

/** Class numbers become their names; a number that has none is `NoClass`. */
function named(value: unknown, feature: Feature): unknown {
  if (feature === null || value === null || value === undefined) return value;
  if (feature.kind === 'class') return typeof value === 'number' ? (feature.names[value] ?? new NoClass(value)) : value;
  if (feature.kind === 'list')
    return Array.isArray(value) ? value.map((each: unknown) => named(each, feature.of)) : named(value, feature.of);
  if (feature.kind === 'image' || !isObject(value)) return value;
  const { fields } = feature;
  const entries = Object.entries(value).map(([name, each]) => {
    const field = fields.get(name) ?? null;
    // A list of structs may stand as a struct of lists.
    return [name, named(each, Array.isArray(each) && field?.kind !== 'list' ? listOf(field) : field)];
  });
  return Object.fromEntries(entries);
}

/** Columns that hold pictures, one or a list. */
function imageColumns(features: Features): string[] {
  const isImage = (feature: Feature): boolean =>
    feature?.kind === 'image' || (feature?.kind === 'list' && isImage(feature.of));
  return [...features].filter(([, feature]) => isImage(feature)).map(([name]) => name);
}
