import { readSample } from '../forms/read-sample.ts';
import { refuse } from '../forms/values.ts';
import { refuseByteOrderMark } from '../manifest.ts';
import { type Problems, quote } from '../problems.ts';
import { pathProblem } from '../source.ts';
import { csvRows } from './csv.ts';
import { bad, type Entry, readEach } from './each.ts';
import { jsonLines } from './json-text.ts';
import { parquetRows } from './parquet.ts';
import { openParquet } from './parquet-rows.ts';
import type { Reader, SamplesFile } from './reader.ts';

const METADATA = /(?:^|\/)metadata\.(?:jsonl|csv|parquet)$/;
/** Endings of pictures, also as browsers write them (`.jfif`, `.jpg_large`), or none at all: what it is, its bytes tell. */
const IMAGE = /(?:\.(?:jpe?g|jpe|jfif|pjpe?g|pjp|a?png|webp|gif|tiff?|avif|bmp|dib|hei[cf])[^./]*|(?:^|\/)[^./]+)$/i;
/** What systems leave in folders. */
const LEFT_BEHIND = /(?:^|\/)(?:\.[^/]*|__MACOSX\/.*)$/;
/** Columns that `datasets` takes for paths of images: one, or a list of them. */
const FILE_NAME = /^(?:.*_)?file_names?$/;

/**
 * The ImageFolder layout of Hugging Face datasets. `samples` is `metadata.jsonl`, `.csv` or `.parquet`, whose `file_name` is the
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
  return ['jsonl', 'csv', 'parquet'].map((ext) => `${folder}/metadata.${ext}`).find((path) => listed.has(path)) ?? null;
}

const isFolder = ({ path, size, manifest }: SamplesFile) =>
  size === 0 && manifest.files.some((file) => file.path.startsWith(`${path}/`));

async function entries(file: SamplesFile, problems: Problems): Promise<Iterable<Entry> | AsyncIterable<Entry>> {
  const { path, manifest } = file;
  if (isFolder(file)) return labelled(path, manifest, problems);
  if (/\.csv$/i.test(path)) return csvRows(file);
  if (/\.jsonl$/i.test(path)) {
    refuseByteOrderMark(await file.slice(0, Math.min(4, file.size)), path);
    return jsonLines(file, problems);
  }
  if (/\.parquet$/i.test(path)) return parquetRows(await openParquet(file), path);
  throw bad(
    `${path}: an ImageFolder is described by metadata.jsonl, metadata.csv or metadata.parquet. Name one, or the folder itself.`,
  );
}

function* labelled(folder: string, manifest: SamplesFile['manifest'], problems: Problems): Generator<Entry> {
  const above = manifest.files.find(({ path }) => METADATA.test(path) && isAbove(path, folder));
  for (const { path } of manifest.files) {
    if (!path.startsWith(`${folder}/`) || LEFT_BEHIND.test(path)) continue;
    if (/\.svg$/i.test(path)) problems.add(path, 'SVG is not read; convert it or take it out of "files"');
    if (!IMAGE.test(path)) continue;
    const name = path.slice(folder.length + 1);
    const label = name.split('/').at(-2);
    if (label !== undefined) yield { value: { file_name: name, label }, place: path };
    else if (above)
      problems.add(
        path,
        `lies in no folder that names its label, and ${above.path} belongs to no split: put its lines into ${folder}/metadata.${above.path.split('.').at(-1)}, with paths that count from there`,
      );
    else problems.add(path, `lies in no folder that names its label; move it to ${folder}/LABEL/`);
  }
}

/** Whether a file lies in a folder that holds another one. */
function isAbove(path: string, folder: string): boolean {
  const holder = path.slice(0, path.lastIndexOf('/') + 1);
  return holder !== `${folder}/` && `${folder}/`.startsWith(holder);
}
