import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LiloraError } from '../core/errors.ts';
import { chosenConfiguration, configurationsOf, filesOf } from './configurations.ts';
import { type FoundSplits, findSplits, samplesBelow } from './find-splits.ts';
import { type Manifest, SPLITS, type SplitName } from './manifest.ts';

export interface ChooseOptions {
  /** The configuration of the Hub that is meant. */
  readonly config?: string | undefined;
  /** What a person named. */
  readonly named: Partial<Record<SplitName, readonly string[]>>;
  /** Takes what a person should know of the choice. */
  readonly note: (text: string) => void;
}

/**
 * The samples of each split: as a person named them, else as README.md lists them, else by names of files and folders.
 * `BadDataset` where a person must choose, or a split is missing.
 * @param paths of all files below `root`
 */
export async function chooseSplits(
  root: string,
  paths: readonly string[],
  { config, named, note }: ChooseOptions,
): Promise<Manifest['splits']> {
  const asked = SPLITS.filter((split) => named[split] !== undefined);
  const found = await foundIn(root, paths, asked, config, note);
  if (found.others.length > 0) {
    const shown = found.others.slice(0, 5).join(', ');
    const more = found.others.length > 5 ? ` and ${found.others.length - 5} more` : '';
    note(`No split by their names, so left out: ${shown}${more}. Name them with --train, --validation or --test.`);
  }
  const chosen: Partial<Record<SplitName, readonly string[]>> = { ...found.splits };
  const files = await withoutCaches(root, paths);
  for (const split of asked) chosen[split] = named[split]!.flatMap((place) => placesOf(place, files, split));
  if (!chosen.test && chosen.validation) {
    note('There is no test split: the validation split is taken for it.');
    chosen.test = chosen.validation;
    delete chosen.validation;
  }
  const { train, validation, test } = chosen;
  if (!train || !test) throw missing(root, paths, chosen);
  const samples = (places: readonly string[]) => ({ samples: places.length === 1 ? places[0]! : [...places] });
  return { train: samples(train), ...(validation && { validation: samples(validation) }), test: samples(test) };
}

/** A file or a folder of images that a person named; of a folder of samples files, these. */
function placesOf(named: string, paths: readonly string[], split: SplitName): readonly string[] {
  const place = named.replace(/^(?:\.\/)+/, '').replace(/\/+$/, '');
  if (paths.includes(place)) return [place];
  const below = samplesBelow(place, paths);
  if (below.length > 0) return below;
  if (paths.some((path) => path.startsWith(`${place}/`))) return [place];
  throw new LiloraError(
    'BadDataset',
    `--${split} ${named}: there is no such file or folder in the dataset. Name it by its path from there.`,
  );
}

async function foundIn(
  root: string,
  paths: readonly string[],
  named: readonly SplitName[],
  config: string | undefined,
  note: (text: string) => void,
): Promise<FoundSplits> {
  // Whoever names what is trained and what is tested has chosen.
  if (named.includes('train') && named.includes('test')) return { splits: {}, others: [] };
  const files = await withoutCaches(root, paths);
  const configs = await configurationsOf(root);
  const meant = chosenConfiguration(configs, configs.length === 0 ? undefined : config);
  if (!meant) return findSplits(files, { named, config });
  if (configs.length > 1 && config === undefined) {
    const rest = configs.filter((each) => each !== meant).map(({ name }) => name);
    note(`The configuration ${meant.name} is taken, the default; --config chooses another: ${rest.join(', ')}.`);
  }
  if (meant.splits) {
    const { splits, others } = filesOf(meant, files);
    if (Object.keys(splits).length > 0) return { splits, others: others.map((name) => `split ${name} of README.md`) };
  }
  const folder = meant.folder || (files.some((path) => path.startsWith(`${meant.name}/`)) ? meant.name : '');
  const within = folder === '' ? files : files.filter((path) => path.startsWith(`${folder}/`));
  return findSplits(within, { named });
}

/** Without Arrow files that `datasets` keeps beside those of a folder that it saved (`state.json` lists them). */
async function withoutCaches(root: string, paths: readonly string[]): Promise<readonly string[]> {
  const saved = new Map<string, Set<string>>();
  for (const path of paths.filter((each) => /(?:^|\/)state\.json$/.test(each))) {
    const listed = dataFiles(await readFile(join(root, path), 'utf8'));
    if (listed) saved.set(path.slice(0, -'state.json'.length), new Set(listed));
  }
  if (saved.size === 0) return paths;
  return paths.filter((path) => {
    const at = path.lastIndexOf('/') + 1;
    const listed = saved.get(path.slice(0, at));
    return !listed || !/\.arrow$/.test(path) || listed.has(path.slice(at));
  });
}

function dataFiles(text: string): string[] | null {
  try {
    const state = JSON.parse(text) as { _data_files?: { filename?: unknown }[] };
    return Array.isArray(state._data_files) ? state._data_files.map(({ filename }) => String(filename)) : null;
  } catch {
    return null;
  }
}

/** Endings of what is not read, and what to do about it. */
const NOT_READ: ReadonlyArray<readonly [RegExp, string]> = [
  [/\.(?:gz|tgz|zst|bz2|xz|lz4|zip|7z|rar)$/i, 'is packed: unpack it'],
  [/\.(?:xlsx?|ods|numbers)$/i, 'is a spreadsheet: save it as CSV'],
  [
    /\.(?:ndjson|jl|json5|txt)$/i,
    'has an ending that is not read: if it holds one JSON object per line, rename it to .jsonl',
  ],
  [
    /\.(?:pkl|pickle|pt|npy|npz|h5|hdf5|tfrecords?|lmdb|mdb|db|sqlite3?|avro|orc|xml|ya?ml)$/i,
    'is of a kind that is not read: write it as JSON lines or Parquet',
  ],
];

/** The first file that people may have meant, and why it is none. */
function notRead(files: readonly string[]): string {
  for (const [ending, why] of NOT_READ) {
    const path = files.find((each) => ending.test(each));
    if (path !== undefined) return ` ${path} ${why}.`;
  }
  return '';
}

function missing(
  root: string,
  files: readonly string[],
  { train, test }: Partial<Record<SplitName, readonly string[]>>,
): LiloraError {
  const lacking = [...(train ? [] : ['--train']), ...(test ? [] : ['--test'])].join(' and ');
  const only = train
    ? ` Only train was found (${train[0]}); what is tested must be files of its own: keep some apart.`
    : '';
  return new LiloraError(
    'BadDataset',
    `${root}: by their names no files belong to every split.${only}${notRead(files)} Name them with ${lacking}.`,
  );
}
