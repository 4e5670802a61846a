import { LiloraError } from '../core/errors.ts';
import { SPLITS, type SplitName } from './manifest.ts';

/** Words by which people name splits, as Hugging Face datasets looks for them. */
const WORDS: Readonly<Record<SplitName, readonly string[]>> = {
  train: ['train', 'training'],
  validation: ['validation', 'valid', 'val', 'dev'],
  test: ['test', 'testing', 'eval', 'evaluation'],
};

const DATA = /\.(?:jsonl?|parquet|tar)$|(?:^|\/)metadata\.csv$/i;
const IMAGE = /\.(?:jpe?g|png|webp)$/i;

/**
 * The samples of each split by the names of files and folders: a word such as `train` or `val` between separators, in the
 * name of a file, else in the nearest folder. A folder of images counts where no samples file has its word. `BadDataset` when
 * one split has files of several kinds: then a person must choose.
 * @param paths of all files, relative to the dataset
 */
export function findSplits(paths: readonly string[]): Partial<Record<SplitName, string[]>> {
  const files = new Map<SplitName, string[]>();
  for (const path of paths.filter((path) => DATA.test(path))) {
    const split = path.split('/').reverse().map(splitOf).find(Boolean);
    if (split) files.set(split, [...(files.get(split) ?? []), path]);
  }
  for (const [split, names] of files) {
    const kinds = new Set(names.map((name) => name.slice(name.lastIndexOf('.') + 1).toLowerCase()));
    if (kinds.size > 1)
      throw new LiloraError(
        'BadDataset',
        `The ${split} split has files of several kinds: ${names.slice(0, 4).join(', ')}. Name those that are meant with --${split}.`,
      );
  }
  const folders = new Map<SplitName, Set<string>>();
  for (const path of paths.filter((path) => IMAGE.test(path))) {
    const parts = path.split('/').slice(0, -1);
    const at = parts.findIndex((part) => splitOf(part));
    const split = splitOf(parts[at] ?? '');
    if (split && !files.has(split))
      folders.set(split, (folders.get(split) ?? new Set()).add(parts.slice(0, at + 1).join('/')));
  }
  return Object.fromEntries([...files, ...[...folders].map(([split, names]) => [split, [...names]] as const)]);
}

function splitOf(name: string): SplitName | null {
  const words = name.toLowerCase().split(/[^a-z]+/);
  return SPLITS.find((split) => WORDS[split].some((word) => words.includes(word))) ?? null;
}
