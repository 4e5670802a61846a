import { parse } from 'csv-parse/sync';
import { DEFAULTS } from '../../core/defaults.ts';
import { decodeUtf8 } from '../../core/json.ts';
import { readSample } from '../forms/read-sample.ts';
import { refuse } from '../forms/values.ts';
import { refuseByteOrderMark } from '../manifest.ts';
import { type Problems, quote } from '../problems.ts';
import { pathProblem } from '../source.ts';
import { bad, type Entry, readEach, reason } from './each.ts';
import { jsonLines } from './json-text.ts';
import type { Reader, SamplesFile } from './reader.ts';

const METADATA = /(?:^|\/)metadata\.(?:jsonl|csv)$/;
const IMAGE = /\.(?:jpe?g|png|webp)$/i;
/** Columns that `datasets` takes for paths of images: one, or a list of them. */
const FILE_NAME = /^(?:.*_)?file_names?$/;
const OTHER_IMAGE = /\.(?:gif|bmp|tiff?|heic|avif|svg)$/i;

/**
 * The ImageFolder layout of Hugging Face datasets. `samples` is `metadata.jsonl` or `metadata.csv`, whose `file_name` is the
 * path of an image from that file on and whose other columns are those of rows; or a folder, with such a file in it, or
 * without: then the name of the folder that an image lies in is the answer, and `question` of the manifest asks for it.
 */
export const imagefolder: Reader = {
  name: 'imagefolder',
  recognizes: (file) => METADATA.test(file.path) || isFolder(file),
  async *read(file, problems) {
    const { path, manifest } = file;
    const folder = isFolder(file) ? `${path}/` : path.slice(0, path.lastIndexOf('/') + 1);
    yield* readEach(await entries(file, problems), problems, (row, at) => {
      const images = Object.keys(row).filter((key) => FILE_NAME.test(key));
      if (images.length === 0)
        refuse(
          `there is no "file_name" with the path of an image, only ${Object.keys(row)
            .map((key) => quote(key))
            .join(', ')}`,
        );
      const paths = images.map((key) => [key, within(folder, row[key], key)]);
      return readSample({ ...row, ...Object.fromEntries(paths) }, { ...at, imageColumns: images }, manifest);
    });
  },
};

/** Paths that count from the folder of the file, as paths of the dataset. */
function within(folder: string, value: unknown, key: string): unknown {
  if (Array.isArray(value)) return value.map((each: unknown) => within(folder, each, key));
  if (value === null || value === undefined || value === '') return null;
  if (typeof value !== 'string') refuse(`${quote(key)} must be the path of an image, not ${quote(value)}`);
  const problem = pathProblem(value);
  if (problem) refuse(`${key} ${quote(value)}: ${problem}`);
  return `${folder}${value}`;
}

/** The file that describes a folder of images, if the dataset lists one. */
export function metadataOf(folder: string, listed: { has(path: string): boolean }): string | null {
  return ['jsonl', 'csv'].map((ext) => `${folder}/metadata.${ext}`).find((path) => listed.has(path)) ?? null;
}

const isFolder = ({ path, size, manifest }: SamplesFile) =>
  size === 0 && manifest.files.some((file) => file.path.startsWith(`${path}/`));

async function entries(file: SamplesFile, problems: Problems): Promise<Iterable<Entry> | AsyncIterable<Entry>> {
  const { path, manifest } = file;
  if (isFolder(file)) return labelled(path, manifest, problems);
  refuseByteOrderMark(await file.slice(0, Math.min(4, file.size)), path);
  if (/\.jsonl$/i.test(path)) return jsonLines(file, problems);
  if (/\.csv$/i.test(path)) return csvLines(await file.bytes(), path);
  throw bad(`${path}: an ImageFolder is described by metadata.jsonl or metadata.csv. Name one, or the folder itself.`);
}

function* labelled(folder: string, manifest: SamplesFile['manifest'], problems: Problems): Generator<Entry> {
  for (const { path } of manifest.files) {
    if (!path.startsWith(`${folder}/`)) continue;
    if (OTHER_IMAGE.test(path)) problems.add(path, 'JPEG, PNG and WebP are read; convert it or take it out of "files"');
    if (!IMAGE.test(path)) continue;
    const name = path.slice(folder.length + 1);
    const label = name.split('/').at(-2);
    if (label === undefined) problems.add(path, `lies in no folder that names its label; move it to ${folder}/LABEL/`);
    else yield { value: { file_name: name, label }, place: path };
  }
}

function* csvLines(bytes: Uint8Array, file: string): Generator<Entry> {
  let table: { record: string[]; info: { lines: number } }[];
  try {
    table = parse(decodeUtf8(bytes, file, 'BadDataset'), {
      info: true,
      skip_empty_lines: true,
      max_record_size: 16 * DEFAULTS['dataset.maxTextLength'].value,
    }) as unknown as typeof table;
  } catch (error) {
    throw bad(`${file}: not a CSV file that can be read (${reason(error)}). Correct it.`, error);
  }
  const head = table[0]?.record ?? [];
  if (new Set(head).size < head.length) throw bad(`${file}:1: a column stands there twice. Rename one.`);
  // `info.lines` counts the lines read so far: where the record ends.
  for (const { record, info } of table.slice(1))
    yield {
      value: Object.fromEntries(head.map((name, i) => [name, record[i] === '' ? null : record[i]])),
      place: `${file}:${info.lines}`,
    };
}
