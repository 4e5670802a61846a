import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sample } from '../core/sample.ts';
import { checkSplits, type Encoder, type LeftOut } from './check-splits.ts';
import { readImages, type Unpacked } from './files.ts';
import { FoundImages, type ImageFacts, type KnownImages } from './found-images.ts';
import type { ImageSink } from './images.ts';
import type { Alike } from './likeness.ts';
import { datasetVersion, type Manifest, readManifest, type SplitName } from './manifest.ts';
import { type LeftOutKey, Problems } from './problems.ts';
import { EXAMPLES, type ReadSplit, ReadSplits, type RenamedId } from './read-splits.ts';
import { allOf, type SampleList } from './sample-list.ts';
import type { DatasetSource } from './source.ts';

export type { Encoder, LeftOut } from './check-splits.ts';
export type { Alike } from './likeness.ts';
export type { RenamedId } from './read-splits.ts';
export type { DatasetSource } from './source.ts';

/** How many there are, and the first of them. */
export interface Counted<T> {
  readonly count: number;
  readonly examples: readonly T[];
}

/** What a dataset that keeps every rule tells of itself beside its samples. */
export interface DatasetFacts {
  readonly manifest: Manifest;
  /** Its version: SHA-256 of the canonical manifest, which holds the digest of every file. */
  readonly digest: string;
  /** Training samples that are not in `splits`, because this model cannot learn their answers. */
  readonly leftOut: readonly LeftOut[];
  /** Keys of samples that hold something and were not read. */
  readonly leftOutKeys: readonly LeftOutKey[];
  /** Ids that another sample had before: they were made unique by the place of the sample. */
  readonly renamed: Counted<RenamedId>;
  /** Samples that are alike, by what they share and by their splits. */
  readonly alike: readonly Alike[];
  /** Listed files that are neither samples nor images of any. */
  readonly unused: Counted<string>;
}

/** A dataset that keeps every rule, its samples on this disk: how many there are costs little memory. */
export interface CheckedDataset extends DatasetFacts {
  /** Read from files of the folder that was given, as long as it is there. */
  readonly splits: Readonly<Partial<Record<SplitName, SampleList>>>;
  /** Every image that a sample uses, by SHA-256. */
  readonly images: KnownImages;
}

/** A dataset that keeps every rule, in memory. */
export interface ValidDataset extends DatasetFacts {
  readonly splits: Readonly<Partial<Record<SplitName, readonly Sample[]>>>;
  /** Every image that a sample uses, by SHA-256. */
  readonly images: ReadonlyMap<string, ImageFacts>;
}

export interface ValidateOptions {
  /** Of the model that is to learn it. */
  readonly processor?: Encoder | undefined;
  /** Takes every image that a sample uses, encoded as it came. */
  readonly images?: ImageSink;
  /** Sees every sample as it was read, with the images that stand in its file. */
  readonly onSample?: (split: SplitName, sample: Unpacked) => void | Promise<void>;
  /** Told how many tokens each conversation has. */
  readonly onTokens?: (split: SplitName, tokens: number) => void;
}

/**
 * Reads a whole dataset and checks it: manifest, size and digest of every file, samples, images, splits, and with a
 * `processor` that every conversation fits into the model's context and that its answers can be learned; samples where
 * they cannot are left out, if they are few (`dataset.maxLeftOut`). `BadDataset` lists what is wrong, by file, line and id;
 * nothing that reading throws has another name, but for what the store or the model say.
 * Some samples and a few images are in memory at a time, beside some 100 bytes for each sample and 400 for each image and file.
 * @param folder an empty folder of this machine: samples stay there, copies of files while they are read
 */
export async function checkDataset(
  source: DatasetSource,
  folder: string,
  { processor, images, onSample, onTokens }: ValidateOptions = {},
): Promise<CheckedDataset> {
  const problems = new Problems();
  const found = new FoundImages(images);
  const stage = <T>(run: () => T | Promise<T>) => problems.stage(source.describe(), run);

  const manifest = await stage(() => readManifest(source));
  const read = await stage(() => ReadSplits.read({ source, manifest, folder, found, problems, onSample }));
  await stage(() => readImages(source, read.others(), read, found, problems, join(folder, 'file')));
  const checked = await stage(() => checkSplits(read.splits, found, problems, processor, onTokens));
  const { leftOut, dropped, alike } = checked;
  const splits = Object.fromEntries(
    read.splits.map(({ name, samples }) => [name, keptOf(samples, name === 'train' ? dropped : [])]),
  );
  const digest = datasetVersion(manifest);
  const unused = counted(read.unused());
  const { renamed } = read;
  const { leftOutKeys } = problems;
  return { manifest, digest, splits, leftOut, leftOutKeys, renamed, alike, unused, images: found.facts };
}

/** As `checkDataset`, all samples in memory: for datasets that are small. */
export function validateDataset(source: DatasetSource, options: ValidateOptions = {}): Promise<ValidDataset> {
  return inTemporaryFolder(async (folder) => {
    const checked = await checkDataset(source, folder, options);
    const splits: Partial<Record<SplitName, readonly Sample[]>> = {};
    for (const [name, list] of Object.entries(checked.splits)) splits[name as SplitName] = await allOf(list);
    const images = new Map<string, ImageFacts>();
    for (const digest of checked.images.keys()) images.set(digest, checked.images.get(digest)!);
    return { ...checked, splits, images };
  });
}

/** Work with a folder of its own among temporary files, which goes afterwards. */
export async function inTemporaryFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'lilora-validate-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The samples of a split without some. @param dropped numbers, ascending */
function keptOf(records: ReadSplit['samples'], dropped: readonly number[]): SampleList {
  const without = new Set(dropped);
  /** A number among those that are kept, as one of all. */
  const numberOf = (kept: number) => {
    let number = kept;
    for (const each of dropped) if (each <= number) number++;
    return number;
  };
  async function* kept<T>(all: AsyncIterable<T>): AsyncGenerator<T> {
    let i = 0;
    for await (const each of all) if (!without.has(i++)) yield each;
  }
  return {
    length: records.length - dropped.length,
    at: (i) => records.at(numberOf(i)),
    lines: () => kept(records.lines()),
    [Symbol.asyncIterator]: () => kept(records),
  };
}

function counted<T>(all: Iterable<T>): Counted<T> {
  const examples: T[] = [];
  let count = 0;
  for (const each of all) if (count++ < EXAMPLES) examples.push(each);
  return { count, examples };
}
