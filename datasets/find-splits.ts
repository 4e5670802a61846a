import { LiloraError } from '../core/errors.ts';
import { SPLITS, type SplitName } from './manifest.ts';

/** Words by which people name splits, as Hugging Face datasets looks for them. */
const WORDS: Readonly<Record<SplitName, readonly string[]>> = {
  train: ['train', 'training'],
  validation: ['validation', 'valid', 'val', 'dev'],
  test: ['test', 'testing', 'eval', 'evaluation'],
};

const DATA = /\.(?:jsonl?|parquet|arrow|feather|tar)$|(?:^|\/)metadata\.csv$/i;
const TABLE = /\.(?:csv|tsv)$/i;
/** Files that tools lay beside samples: img2dataset, datasets. */
const BESIDE = /_stats\.json$|(?:^|\/)(?:dataset_infos?|dataset_dict|state)\.json$|(?:^|\/)cache-[^/]*\.arrow$/i;
const IMAGE = /\.(?:jpe?g|jpe|jfif|png|webp|gif|tiff?|avif|bmp)$/i;

export interface FoundSplits {
  readonly splits: Partial<Record<SplitName, string[]>>;
  /** Files with samples, as it seems, that belong to no split by their names. */
  readonly others: readonly string[];
}

export interface FindOptions {
  /** Splits that a person named: nothing is looked for. */
  readonly named?: readonly SplitName[];
  /** The configuration that is meant: a folder that holds splits. */
  readonly config?: string | undefined;
}

/**
 * The samples of each split by the names of files and folders: a word such as `train` or `val` between separators, in the
 * name of a file, else in the nearest folder. A folder of images counts where no samples file has its word. `BadDataset` when
 * a person must choose: one split has files of several kinds, or in several folders.
 * @param paths of all files, relative to the dataset
 */
export function findSplits(paths: readonly string[], { named = [], config }: FindOptions = {}): FoundSplits {
  const data = paths.filter((path) => DATA.test(path) && !BESIDE.test(path));
  const files = bySplit(data);
  const folders = bySplit(paths.filter((path) => IMAGE.test(path)).map((path) => path.slice(0, path.lastIndexOf('/'))));
  const tables = paths.filter((path) => TABLE.test(path) && !DATA.test(path));
  for (const [split, places] of bySplit(tables)) if (!files.has(split) && !folders.has(split)) files.set(split, places);
  const found = new Map<SplitName, readonly Place[]>();
  for (const split of SPLITS) {
    if (named.includes(split)) continue;
    const places = files.has(split) ? ofOneKind(split, files.get(split)!) : (folders.get(split) ?? []);
    const one = inOneFolder(split, places, config);
    if (one.length > 0) found.set(split, one);
  }
  const others = [...data, ...tables].filter((path) => placeOf(path) === null);
  const splits = [...found].map(([split, places]) => [split, [...new Set(places.map(({ path }) => path))]] as const);
  return { splits: Object.fromEntries(splits), others };
}

/** A file, or the folder of images that has the word of a split. */
interface Place {
  readonly path: string;
  readonly split: SplitName;
  /** The folder in which the word of the split stands. */
  readonly within: string;
}

function placeOf(path: string): Place | null {
  const parts = path.split('/');
  for (let i = parts.length - 1; i >= 0; i--) {
    const split = splitOf(parts[i]!);
    if (split) return { path, split, within: parts.slice(0, i).join('/') };
  }
  return null;
}

function bySplit(paths: readonly string[]): Map<SplitName, Place[]> {
  const found = new Map<SplitName, Place[]>();
  for (const path of paths) {
    const place = DATA.test(path) || TABLE.test(path) ? placeOf(path) : folderOf(path);
    if (place) found.set(place.split, [...(found.get(place.split) ?? []), place]);
  }
  return found;
}

/** Of a folder that images lie in, the first part that has the word of a split. */
function folderOf(path: string): Place | null {
  const parts = path.split('/');
  const at = parts.findIndex((part) => splitOf(part));
  const split = splitOf(parts[at] ?? '');
  return split && { path: parts.slice(0, at + 1).join('/'), split, within: parts.slice(0, at).join('/') };
}

/** Files of one kind. Beside a shard of tar, a table of the same name describes what is in it. */
function ofOneKind(split: SplitName, places: readonly Place[]): readonly Place[] {
  const stem = (path: string) => path.slice(0, path.lastIndexOf('.'));
  const shards = new Set(places.filter(({ path }) => /\.tar$/i.test(path)).map(({ path }) => stem(path)));
  const left = places.filter(({ path }) => /\.tar$/i.test(path) || !shards.has(stem(path)));
  const kinds = new Set(left.map(({ path }) => path.slice(path.lastIndexOf('.') + 1).toLowerCase()));
  if (kinds.size <= 1) return left;
  const names = left
    .slice(0, 4)
    .map(({ path }) => path)
    .join(', ');
  throw new LiloraError(
    'BadDataset',
    `The ${split} split has files of several kinds: ${names}. Name those that are meant with --${split}.`,
  );
}

function inOneFolder(split: SplitName, places: readonly Place[], config: string | undefined): readonly Place[] {
  const folders = [...new Set(places.map(({ within }) => within))];
  if (config !== undefined) {
    const isMeant = (folder: string) => folder === config || folder.split('/').includes(config);
    if (folders.some(isMeant)) return places.filter(({ within }) => isMeant(within));
    if (places.length === 0) return [];
    const known = folders.map((folder) => folder || '.').join(', ');
    throw new LiloraError(
      'BadDataset',
      `There is no configuration ${JSON.stringify(config)} with a ${split} split; it is in ${known}.`,
    );
  }
  if (folders.length <= 1) return places;
  const shown = folders
    .slice(0, 8)
    .map((folder) => folder || '.')
    .join(', ');
  throw new LiloraError(
    'BadDataset',
    `The ${split} split has files in several folders: ${shown}. If these are configurations, choose one, as in --config ${folders.find(Boolean)}; to take several, name their files with --${split}.`,
  );
}

/** Samples files below a folder that a person names, such as one of `save_to_disk`; none where it holds images. */
export function samplesBelow(folder: string, paths: readonly string[]): string[] {
  const within = paths.filter((path) => path.startsWith(`${folder}/`));
  if (within.some((path) => IMAGE.test(path))) return [];
  return within.filter((path) => (DATA.test(path) || TABLE.test(path)) && !BESIDE.test(path));
}

/** The split that a name speaks of, by whole words; null when it names none. */
export function splitOf(name: string): SplitName | null {
  const words = name.toLowerCase().split(/[^a-z]+/);
  return SPLITS.find((split) => WORDS[split].some((word) => words.includes(word))) ?? null;
}
