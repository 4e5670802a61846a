import { unpackTar } from 'modern-tar';
import { decodeUtf8, parseJson } from '../../core/json.ts';
import { type Problems, quote } from '../problems.ts';
import { pathProblem } from '../source.ts';
import { isObject } from './conversation.ts';
import { bad, type Entry, readEach, reason } from './each.ts';
import type { Reader } from './reader.ts';
import { rows } from './rows.ts';

const IMAGE = /(?:^|\.)(?:jpe?g|png|webp)$/i;

/**
 * WebDataset: tar shards in which the files of one sample stand together under one name, `0001.jpg 0001.json`. Images are
 * `.jpg .png .webp` (several: `0001.a.jpg 0001.b.jpg`, in their order), `.json` holds the columns of a row or a conversation,
 * `.txt` a text and `.cls` a label, which are the answer.
 */
export const webdataset: Reader = {
  name: 'webdataset',
  recognizes: ({ path }) => /\.tar$/i.test(path),
  async *read(file, problems) {
    const { path, manifest } = file;
    const files = await unpack(await file.bytes(), path, problems);
    yield* readEach(samples(files, path, problems), problems, (row, at) => {
      const { __key__: key, ...rest } = row;
      return rows.read({ ...rest, id: rest['id'] ?? key }, at, manifest);
    });
  },
};

interface TarFile {
  readonly name: string;
  readonly data: Uint8Array;
}

/** The plain files of a shard in their order. Everything else than files and folders goes to `problems`. */
async function unpack(bytes: Uint8Array, path: string, problems: Problems): Promise<TarFile[]> {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) throw bad(`${path}: a compressed tar. Unpack it with gunzip.`);
  let entries: Awaited<ReturnType<typeof unpackTar>>;
  try {
    entries = await unpackTar(bytes, { strict: true });
  } catch (error) {
    throw bad(`${path}: not a tar file that can be read, or not whole (${reason(error)}). Copy it again.`, error);
  }
  const files: TarFile[] = [];
  for (const { header, data } of entries) {
    const name = header.name.replace(/^\.\//, '');
    if (header.type === 'directory') continue;
    const where = `${path} (${quote(name)})`;
    const problem = pathProblem(name);
    if (problem) problems.add(where, problem);
    else if (header.type !== 'file' || data === undefined)
      problems.add(where, `is a ${header.type}; only plain files are read. Write the shard without it`);
    else files.push({ name, data });
  }
  return files;
}

/** Samples as rows: neighbours whose names are equal up to the first dot. */
function* samples(files: readonly TarFile[], path: string, problems: Problems): Generator<Entry> {
  const seen = new Set<string>();
  for (let from = 0; from < files.length; ) {
    const [key] = split(files[from]!.name);
    let to = from;
    while (to < files.length && split(files[to]!.name)[0] === key) to++;
    const place = `${path} (${quote(key)})`;
    if (seen.has(key)) problems.add(place, 'its files do not stand together; sort the shard by name');
    else {
      seen.add(key);
      const value = rowOf(files.slice(from, to), key, path, problems);
      if (value) yield { value, place };
    }
    from = to;
  }
}

/** The name of a sample and what follows its first dot. */
function split(name: string): [key: string, extension: string] {
  const base = name.lastIndexOf('/') + 1;
  const dot = name.indexOf('.', base);
  return dot < 0 ? [name, ''] : [name.slice(0, dot), name.slice(dot + 1)];
}

function rowOf(files: readonly TarFile[], key: string, path: string, problems: Problems): object | null {
  const images: { bytes: Uint8Array; path: string }[] = [];
  const row: Record<string, unknown> = {};
  for (const { name, data } of files) {
    const [, extension] = split(name);
    const place = `${path} (${quote(name)})`;
    try {
      if (IMAGE.test(extension)) images.push({ bytes: data, path: name });
      else if (extension === 'json') {
        const value = parseJson(data, place, { errorName: 'BadDataset' });
        if (!isObject(value)) throw bad(`${place}: an object is expected. Correct it.`);
        Object.assign(row, value);
      } else if (extension === 'txt') row['text'] = decodeUtf8(data, place, 'BadDataset');
      else if (extension === 'cls') row['label'] = decodeUtf8(data, place, 'BadDataset').trim();
      else
        problems.add(place, 'of this kind of file nothing is known; .jpg, .png, .webp, .json, .txt and .cls are read');
    } catch (error) {
      problems.addError(error);
      return null;
    }
  }
  const [one] = images;
  // What the shard holds is meant, whatever paths the JSON names.
  const embedded = images.length === 0 ? {} : { image: images.length === 1 ? one : images, images: undefined };
  return { __key__: key, ...row, ...embedded };
}
