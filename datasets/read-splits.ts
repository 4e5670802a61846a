import { join } from 'node:path';
import { DEFAULTS } from '../core/defaults.ts';
import { DigestTable, digestBytes } from '../core/digest-table.ts';
import { LiloraError } from '../core/errors.ts';
import type { Sample } from '../core/sample.ts';
import { folderOf, type ListedFile, type OpenedSamples, openVerified, takeImages, type Unpacked } from './files.ts';
import type { FoundImages } from './found-images.ts';
import { ImagePaths } from './image-paths.ts';
import { type Manifest, SPLITS, type SplitName, samplesOf } from './manifest.ts';
import { type Problems, quote } from './problems.ts';
import { metadataOf } from './readers/imagefolder.ts';
import { readerFor, readerOf } from './readers/registry.ts';
import { RecordFile } from './record-file.ts';
import { lineOf } from './sample-list.ts';
import { type DatasetSource, MANIFEST_FILE } from './source.ts';

/** The samples of a split, and by the same number where each stands. */
export interface ReadSplit {
  readonly name: SplitName;
  readonly samples: RecordFile<Sample>;
  /** File, line or index, and id. */
  readonly wheres: RecordFile<string>;
}

/** An id that another sample had before. */
export interface RenamedId {
  readonly was: string;
  readonly id: string;
}

/** How many examples a report gives. */
export const EXAMPLES = 20;

/** What reading a dataset works with. */
export interface Reading {
  readonly source: DatasetSource;
  readonly manifest: Manifest;
  /** A folder of this machine for what was read. */
  readonly folder: string;
  readonly found: FoundImages;
  readonly problems: Problems;
  readonly onSample?: ((split: SplitName, sample: Unpacked) => void | Promise<void>) | undefined;
}

/** All samples of a dataset, on this disk, and which of its files they came from or need. */
export class ReadSplits {
  readonly splits: ReadSplit[] = [];
  /** Ids that were made unique by their place: how many, and the first of them. */
  readonly renamed = { count: 0, examples: [] as RenamedId[] };
  private readonly reading: Reading;
  private readonly listed: ReadonlyMap<string, { readonly file: ListedFile; readonly number: number }>;
  /** By number of the file. */
  private readonly held: Uint8Array;
  private readonly used: Uint8Array;
  private readonly paths: ImagePaths;
  private readonly ids = new DigestTable();

  private constructor(reading: Reading) {
    this.reading = reading;
    const { files } = reading.manifest;
    this.listed = new Map(files.map((file, number) => [file.path, { file, number }]));
    this.paths = new ImagePaths(this.listed, reading.manifest.images);
    this.held = new Uint8Array(files.length);
    this.used = new Uint8Array(files.length);
  }

  static async read(reading: Reading): Promise<ReadSplits> {
    if (reading.manifest.format !== undefined) readerOf(reading.manifest.format);
    const read = new ReadSplits(reading);
    for (const name of SPLITS) await read.split(name);
    return read;
  }

  /** Whether samples need this file as an image. */
  has(path: string): boolean {
    return this.used[this.listed.get(path)?.number ?? -1] === 1;
  }

  /** Files of the dataset that hold no samples. */
  *others(): Generator<ListedFile> {
    for (const [i, file] of this.reading.manifest.files.entries()) if (this.held[i] === 0) yield file;
  }

  /** Files that are neither samples nor images of any. */
  *unused(): Generator<string> {
    for (const { path } of this.others()) if (!this.has(path)) yield path;
  }

  private async split(name: SplitName): Promise<void> {
    const { manifest, folder, problems } = this.reading;
    const places = samplesOf(manifest, name);
    if (places.length === 0) return;
    const samples = await RecordFile.create<Sample>(join(folder, `samples-${name}`));
    const wheres = await RecordFile.create<string>(join(folder, `wheres-${name}`));
    const split = { name, samples, wheres };
    const before = problems.count;
    try {
      for (const [i, place] of places.entries()) await this.file(split, place, join(folder, `${name}-${i}`));
    } finally {
      await samples.finish();
      await wheres.finish();
    }
    if (samples.length === 0 && problems.count === before)
      problems.add(places[0]!, `split ${name} is empty; add samples`);
    this.splits.push(split);
  }

  private async file({ name, samples, wheres }: ReadSplit, place: string, spool: string): Promise<void> {
    const { found, problems, onSample } = this.reading;
    let file: OpenedSamples | null = null;
    try {
      file = await this.open(place, spool);
      if (file === null) {
        problems.add(MANIFEST_FILE, `split ${name} reads ${quote(place)}, which "files" does not list; add it there`);
        return;
      }
      const listed = this.listed.get(file.path);
      if (listed) this.held[listed.number] = 1;
      const read = await (await readerFor(file)).read(file, problems);
      for await (const unpacked of takeImages(read, found, problems)) {
        const sample = this.withOwnId(unpacked);
        const images = this.digestsOf(sample);
        if (images === null) continue;
        const { where, place: _, ...rest } = sample;
        const finished = written({ ...rest, turns: rest.turns.map(written), images });
        await samples.add(finished, lineOf(finished));
        await wheres.add(where);
        await onSample?.(name, sample);
        checkNumber(samples.length, file.path);
      }
    } catch (error) {
      problems.addError(error, file?.path ?? place);
    } finally {
      await file?.close();
    }
  }

  /** A file with samples, or a folder of images: then the file that describes them, if there is one. Null: not listed. */
  private async open(place: string, spool: string): Promise<OpenedSamples | null> {
    const { source, manifest } = this.reading;
    const path = this.listed.has(place) ? place : metadataOf(place, this.listed);
    if (path !== null) return openVerified(source, this.listed.get(path)!.file, spool, manifest);
    const isFolder = manifest.files.some((file) => file.path.startsWith(`${place}/`));
    return isFolder ? folderOf(place, manifest) : null;
  }

  /** Ids that repeat, or begin again in every file, become unique by their place; the first keeps its own. */
  private withOwnId(sample: Unpacked): Unpacked {
    const isNew = (id: string) => this.ids.add(digestBytes(id), 0) === null;
    if (isNew(sample.id)) return sample;
    const base = `${sample.id}@${sample.place ?? sample.where}`;
    let id = base;
    for (let n = 2; !isNew(id); n++) id = `${base}#${n}`;
    this.renamed.count++;
    if (this.renamed.examples.length < EXAMPLES) this.renamed.examples.push({ was: sample.id, id });
    return { ...sample, id };
  }

  /** The digests of the images of a sample; null when one of them is not listed. */
  private digestsOf({ images, where }: Unpacked): string[] | null {
    const digests: string[] = [];
    for (const image of images) {
      const path = typeof image === 'string' ? this.paths.find(image) : null;
      const listed = path === null ? undefined : this.listed.get(path);
      if (typeof image !== 'string') digests.push(image.sha256);
      else if (listed) {
        this.used[listed.number] = 1;
        digests.push(listed.file.sha256);
      } else this.reading.problems.add(where, this.paths.problem(image));
    }
    return digests.length === images.length ? digests : null;
  }
}

/** What of an object JSON can say: nothing is said of what is not there. */
function written<T extends object>(value: T): T {
  if (!Object.values(value).includes(undefined)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
}

/** Readers check single files; shards add up. */
function checkNumber(samples: number, file: string): void {
  const most = DEFAULTS['dataset.maxSamples'].value;
  if (samples > most)
    throw new LiloraError('BadDataset', `${file}: with it a split has over ${most} samples. Split the dataset.`);
}
