import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';
import { digestOf } from '../core/json.ts';
import type { Sample } from '../core/sample.ts';
import {
  FoundImages,
  folderOf,
  type ImageFacts,
  type OpenedSamples,
  openVerified,
  readImages,
  takeImages,
  type Unpacked,
} from './files.ts';
import type { ImageSize } from './image.ts';
import type { ImageSink } from './images.ts';
import { datasetVersion, type Manifest, readManifest, SPLITS, type SplitName, samplesOf } from './manifest.ts';
import { type LeftOutKey, Problems, quote, Untrainable } from './problems.ts';
import { metadataOf } from './readers/imagefolder.ts';
import { readerFor, readerOf } from './readers/registry.ts';
import { type DatasetSource, MANIFEST_FILE } from './source.ts';

export type { DatasetSource } from './source.ts';

/** A dataset that keeps every rule. */
export interface ValidDataset {
  readonly manifest: Manifest;
  /** Its version: SHA-256 of the canonical manifest, which holds the digest of every file. */
  readonly digest: string;
  readonly splits: Readonly<Partial<Record<SplitName, readonly Sample[]>>>;
  /** Training samples that are not in `splits`, because this model cannot learn their answers. */
  readonly leftOut: readonly LeftOut[];
  /** Keys of samples that hold something and were not read. */
  readonly leftOutKeys: readonly LeftOutKey[];
  /** Every image that a sample uses, by SHA-256. */
  readonly images: ReadonlyMap<string, ImageFacts>;
}

/** A training sample whose answer cannot be learned with this model. */
export interface LeftOut {
  readonly id: string;
  readonly where: string;
  readonly why: string;
}

/** What a model says about a conversation. */
export interface Encoder {
  /** Longest row of tokens. */
  readonly contextLength: number;
  encodeTraining(sample: Sample, sizes: ReadonlyMap<string, ImageSize>): { readonly inputIds: Int32Array };
}

/**
 * Reads a whole dataset and checks it: manifest, size and digest of every file, samples, images, splits, and with a
 * `processor` that every conversation fits into the model's context and that its answers can be learned; samples where
 * they cannot are left out, if they are few (`dataset.maxLeftOut`). `BadDataset` lists what is wrong, by file, line and id.
 * At most one samples file and a few images are in memory at a time.
 * @param options.images takes every image that a sample uses, encoded as it came
 */
export async function validateDataset(
  source: DatasetSource,
  { folder, ...options }: ValidateOptions = {},
): Promise<ValidDataset> {
  if (folder !== undefined) return validateIn(folder, source, options);
  const own = await mkdtemp(join(tmpdir(), 'lilora-validate-'));
  try {
    return await validateIn(own, source, options);
  } finally {
    await rm(own, { recursive: true, force: true });
  }
}

export interface ValidateOptions {
  readonly processor?: Encoder | undefined;
  readonly images?: ImageSink;
  /** Where files are kept while they are read; absent: a folder of its own among temporary files. */
  readonly folder?: string;
  /** Sees every sample as it was read, while the images that stand in its file have just come to `images`. */
  readonly onSample?: (split: SplitName, sample: Unpacked) => void | Promise<void>;
}

async function validateIn(
  spool: string,
  source: DatasetSource,
  { processor, images: sink, onSample }: Omit<ValidateOptions, 'folder'>,
): Promise<ValidDataset> {
  const where = source.describe();
  const problems = new Problems();
  const found = new FoundImages(sink);
  const stage = <T>(run: () => T | Promise<T>) => problems.stage(where, run);

  const manifest = await stage(() => readManifest(source));
  const read = await stage(() => readSplits(source, manifest, spool, found, problems, onSample));
  await stage(() => checkIds(read, problems));
  const samplesFiles = new Set(read.flatMap(({ files }) => files));
  const others = manifest.files.filter(({ path }) => !samplesFiles.has(path));
  const used = new Set<string>();
  for (const { samples } of read)
    for (const { images } of samples) for (const image of images) if (typeof image === 'string') used.add(image);
  await stage(() => readImages(source, others, used, found, problems));

  const finished = read.map((split) => ({
    ...split,
    finished: split.samples.map(
      ({ where: _, images: paths, ...rest }): Sample => ({
        ...rest,
        images: paths.map((image) => (typeof image === 'string' ? found.digests.get(image)! : image.sha256)),
      }),
    ),
  }));
  await stage(() => checkOverlap(finished, problems));
  let leftOut: LeftOut[] = [];
  if (processor) leftOut = await stage(() => checkTokens(finished, processor, found.facts, problems));
  const dropped = new Set(leftOut.map(({ id }) => id));
  const kept = (samples: readonly Sample[]) => samples.filter(({ id }) => !dropped.has(id));
  const splits = Object.fromEntries(finished.map(({ name, finished: samples }) => [name, kept(samples)]));
  return {
    manifest,
    digest: datasetVersion(manifest),
    splits,
    leftOut,
    leftOutKeys: problems.leftOutKeys,
    images: found.facts,
  };
}

interface ReadSplit {
  readonly name: SplitName;
  /** Files that were read and verified. */
  readonly files: readonly string[];
  readonly samples: readonly Unpacked[];
}

interface FinishedSplit extends ReadSplit {
  /** In the order of `samples`. */
  readonly finished: readonly Sample[];
}

async function readSplits(
  source: DatasetSource,
  manifest: Manifest,
  spool: string,
  found: FoundImages,
  problems: Problems,
  onSample: ValidateOptions['onSample'],
): Promise<ReadSplit[]> {
  if (manifest.format !== undefined) readerOf(manifest.format);
  const listed = new Map(manifest.files.map((file) => [file.path, file]));
  const splits: ReadSplit[] = [];
  for (const name of SPLITS) {
    const places = samplesOf(manifest, name);
    const samples: Unpacked[] = [];
    const files: string[] = [];
    const before = problems.count;
    for (const place of places) {
      let file: OpenedSamples | null = null;
      try {
        file = await samplesFile(source, place, manifest, listed, join(spool, `${name}-${files.length}`));
        if (file === null)
          problems.add(MANIFEST_FILE, `split ${name} reads ${quote(place)}, which "files" does not list; add it there`);
        else {
          if (listed.has(file.path)) files.push(file.path);
          const read = await (await readerFor(file)).read(file, problems);
          for await (const sample of takeImages(read, found, problems)) {
            samples.push(sample);
            await onSample?.(name, sample);
            checkNumber(samples.length, file.path);
          }
        }
      } catch (error) {
        problems.addError(error);
      } finally {
        await file?.close();
      }
    }
    if (places.length > 0 && samples.length === 0 && problems.count === before)
      problems.add(places[0]!, `split ${name} is empty; add samples`);
    if (places.length > 0) splits.push({ name, files, samples });
  }
  for (const { samples } of splits)
    for (const { where, images } of samples)
      for (const image of images)
        if (typeof image === 'string' && !listed.has(image))
          problems.add(where, `image ${quote(image)} is not in "files" of ${MANIFEST_FILE}; add it there`);
  return splits;
}

/** Readers check single files; shards add up. */
function checkNumber(samples: number, file: string): void {
  const most = DEFAULTS['dataset.maxSamples'].value;
  if (samples > most)
    throw new LiloraError('BadDataset', `${file}: with it a split has over ${most} samples. Split the dataset.`);
}

/** A file with samples, or a folder of images: then the file that describes them, if there is one. Null: not listed. */
async function samplesFile(
  source: DatasetSource,
  place: string,
  manifest: Manifest,
  listed: ReadonlyMap<string, Manifest['files'][number]>,
  spool: string,
): Promise<OpenedSamples | null> {
  const path = listed.has(place) ? place : metadataOf(place, listed);
  if (path !== null) return openVerified(source, listed.get(path)!, spool, manifest);
  const isFolder = manifest.files.some((file) => file.path.startsWith(`${place}/`));
  return isFolder ? folderOf(place, manifest) : null;
}

/** Every id stands once in the whole dataset. */
function checkIds(splits: readonly ReadSplit[], problems: Problems): void {
  const seen = new Map<string, string>();
  for (const { samples } of splits)
    for (const { id, where } of samples) {
      const other = seen.get(id);
      if (other) problems.add(where, `the id is used already at ${other}; give every sample its own`);
      else seen.set(id, where);
    }
}

/** What is tested must not have been learned: no conversation about the same images in two splits. */
function checkOverlap(splits: readonly FinishedSplit[], problems: Problems): void {
  const seen = new Map<string, { readonly split: SplitName; readonly where: string }>();
  for (const { name, samples, finished } of splits)
    for (const [i, { turns, images }] of finished.entries()) {
      const { where } = samples[i]!;
      const content = digestOf({ turns, images });
      const other = seen.get(content);
      if (!other) seen.set(content, { split: name, where });
      else if (other.split !== name)
        problems.add(where, `the same sample as ${other.where}: splits ${other.split} and ${name} overlap; remove one`);
    }
}

/** Every conversation fits into the context, and every answer of the training split carries loss, but for a few. */
function checkTokens(
  splits: readonly FinishedSplit[],
  processor: Encoder,
  sizes: ReadonlyMap<string, ImageSize>,
  problems: Problems,
): LeftOut[] {
  const leftOut: LeftOut[] = [];
  for (const { name, samples, finished } of splits)
    for (const [i, sample] of finished.entries()) {
      const { where } = samples[i]!;
      try {
        const { length } = processor.encodeTraining(sample, sizes).inputIds;
        if (length > processor.contextLength)
          problems.add(
            where,
            `${length} tokens with its images, but the model reads ${processor.contextLength}; shorten it`,
          );
      } catch (error) {
        // Answers of other splits are compared, not learned.
        if (!(error instanceof Untrainable)) problems.addError(error);
        else if (name === 'train') leftOut.push({ id: sample.id, where, why: error.message });
      }
    }
  const total = splits.find(({ name }) => name === 'train')?.finished.length ?? 0;
  const most = DEFAULTS['dataset.maxLeftOut'].value;
  if (leftOut.length <= most * total) return leftOut;
  const share = `${leftOut.length} of ${total} training samples have an answer that cannot be learned`;
  problems.add(MANIFEST_FILE, `${share}, over the limit of ${100 * most} %; mend these, or use another base model`);
  for (const { where, why } of leftOut) problems.add(where, why);
  return leftOut;
}
