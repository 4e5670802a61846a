import type { FileMetaData } from 'hyparquet';
import { parseJson } from '../../core/json.ts';
import { isObject, NoClass } from '../forms/values.ts';

/** What Hugging Face `datasets` says of the columns, in the file itself. */
export interface Features {
  /** Names of classes by column. */
  readonly labels: ReadonlyMap<string, readonly string[]>;
  /** Columns that hold pictures, one or a list. */
  readonly images: readonly string[];
}

/** The description that `datasets` writes into a Parquet file; empty when there is none. */
export function featuresOf(metadata: FileMetaData, path: string): Features {
  const text = metadata.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value;
  const described = text === undefined ? null : parseJson(text, `${path} (huggingface)`, { errorName: 'BadDataset' });
  const info = isObject(described) && isObject(described['info']) ? described['info'] : {};
  const features = Object.entries(isObject(info['features']) ? info['features'] : {});
  const labels = new Map<string, string[]>();
  for (const [column, feature] of features) {
    const inner = innerOf(feature);
    if (isObject(inner) && inner['_type'] === 'ClassLabel' && Array.isArray(inner['names']))
      labels.set(column, inner['names'].map(String));
  }
  const isImage = (feature: unknown) => isObject(feature) && feature['_type'] === 'Image';
  return { labels, images: features.filter(([, feature]) => isImage(innerOf(feature))).map(([column]) => column) };
}

/** What a list holds; else the feature itself. */
function innerOf(feature: unknown): unknown {
  if (Array.isArray(feature)) return feature[0];
  const isList = isObject(feature) && ['Sequence', 'List', 'LargeList'].includes(String(feature['_type']));
  return isList ? feature['feature'] : feature;
}

/** A cell with the names of its classes; a number that has none is `NoClass`. */
export function named(cell: unknown, names: readonly string[] | undefined): unknown {
  if (names === undefined) return cell;
  if (Array.isArray(cell)) return cell.map((each) => named(each, names));
  if (typeof cell !== 'number' && typeof cell !== 'bigint') return cell;
  return names[Number(cell)] ?? new NoClass(Number(cell));
}
