import { LiloraError } from '../../core/errors.ts';
import { quote } from '../problems.ts';
import { arrow } from './arrow.ts';
import { csv } from './csv.ts';
import { imagefolder } from './imagefolder.ts';
import { jsonReaders } from './json-samples.ts';
import { parquet } from './parquet.ts';
import type { Reader, SamplesFile } from './reader.ts';
import { webdataset } from './webdataset.ts';

/** Every format of samples files, by the name that `format` in dataset.json gives; the first that recognizes a file reads it. */
const READERS: readonly Reader[] = [imagefolder, parquet, arrow, webdataset, csv, ...jsonReaders];

/** The reader of a format; an unknown name is `BadDataset` with the names there are. */
export function readerOf(format: string): Reader {
  const reader = READERS.find(({ name }) => name === format);
  if (reader) return reader;
  throw new LiloraError(
    'BadDataset',
    `dataset.json: format: there is no reader ${JSON.stringify(format)}. Use ${names()}.`,
  );
}

/** The reader of a file: that of the manifest's `format`, else the one that recognizes it. */
export async function readerFor(file: SamplesFile): Promise<Reader> {
  await refusePointers(file);
  const { format } = file.manifest;
  if (format !== undefined) return readerOf(format);
  for (const reader of READERS) if (await reader.recognizes(file)) return reader;
  throw new LiloraError(
    'BadDataset',
    `${quote(file.path)}: of what format it is cannot be told. Name it in "format" of dataset.json: ${names()}.`,
  );
}

/** A few bytes that stand for a file somewhere else are no samples, whatever their name says. */
async function refusePointers({ path, size, slice }: SamplesFile): Promise<void> {
  if (size === 0 || size > 1024) return;
  const text = Buffer.from(await slice(0, size)).toString('latin1');
  const bad = (what: string) => new LiloraError('BadDataset', `${path}: ${what}`);
  if (text.startsWith('version https://git-lfs'))
    throw bad('a Git LFS pointer, not the file itself. Run `git lfs pull` where it was cloned, and copy it again.');
  if (/^(?:\.\.\/)+blobs\/\S+\s*$/.test(text))
    throw bad("a link of the Hub's cache that was copied as text. Copy what it leads to: `cp -rL FOLDER COPY`.");
}

const names = () => READERS.map(({ name }) => name).join(', ');
