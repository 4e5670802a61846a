import { ReadableStream } from 'node:stream/web';
import { createTarDecoder } from 'modern-tar';
import { DEFAULTS } from '../../core/defaults.ts';
import { DigestTable, digestBytes } from '../../core/digest-table.ts';
import { isLiloraError } from '../../core/errors.ts';
import { decodeUtf8, parseJson } from '../../core/json.ts';
import { readSample } from '../forms/read-sample.ts';
import { isObject } from '../forms/values.ts';
import { PICTURE_NAME } from '../picture-names.ts';
import { type Problems, quote } from '../problems.ts';
import { pathProblem } from '../source.ts';
import { bad, type Entry, readEach, reason } from './each.ts';
import { piecesOf } from './json-text.ts';
import type { Reader, SamplesFile } from './reader.ts';

/**
 * WebDataset: tar shards in which the files of one sample stand together under one name, `0001.jpg 0001.json`. Images have the
 * endings of pictures (several: `0001.a.jpg 0001.b.jpg`, in their order), `.json` holds the columns of a row or a conversation,
 * `.txt` or `.caption` a text and `.cls` a label, which are the answer. Endings may be in capitals; what macOS puts beside files is passed over.
 */
export const webdataset: Reader = {
  name: 'webdataset',
  recognizes: ({ path }) => /\.(?:tar|tar\.gz|tgz)$/i.test(path),
  async *read(file, problems) {
    const { path, manifest } = file;
    yield* readEach(samples(unpack(file, problems), path, problems), problems, (row, at) => {
      const { __key__: key, ...rest } = row;
      return readSample({ ...rest, id: rest['id'] ?? key }, at, manifest);
    });
  },
};

/** Attributes of files that macOS packs as files of their own: `._1.jpg`. */
const OF_MACOS = /(?:^|\/)\._[^/]*$|(?:^|\/)__MACOSX\//;

interface TarFile {
  readonly name: string;
  readonly data: Uint8Array;
}

/** The plain files of a shard, one after another. Everything else than files and folders goes to `problems`. */
async function* unpack(file: SamplesFile, problems: Problems): AsyncGenerator<TarFile> {
  const { path } = file;
  const [a, b] = await file.slice(0, Math.min(2, file.size));
  if (a === 0x1f && b === 0x8b) throw bad(`${path}: a compressed tar. Unpack it with gunzip.`);
  /** What goes wrong while the shard is unpacked lies in it. */
  const whole = <T>(read: Promise<T>) =>
    read.catch((error: unknown) => {
      if (isLiloraError(error)) throw error;
      throw bad(`${path}: not a tar file that can be read, or not whole (${reason(error)}). Copy it again.`, error);
    });
  const entries = ReadableStream.from<Uint8Array>(piecesOf(file)).pipeThrough(createTarDecoder({ strict: true }));
  const reader = entries.getReader();
  try {
    for (;;) {
      const { done, value: entry } = await whole(reader.read());
      if (done) return;
      const { header } = entry;
      const name = header.name.replace(/^\.\//, '');
      const where = `${path} (${quote(name)})`;
      const problem = header.type === 'directory' ? null : pathProblem(name);
      if (problem) problems.add(where, problem);
      else if (header.type === 'file' && !OF_MACOS.test(name)) {
        const most = DEFAULTS['dataset.maxSampleBytes'].value;
        if (header.size > most)
          throw bad(`${where}: ${header.size} bytes, over the limit of ${most}. Make it smaller.`);
        yield { name, data: await whole(bytesOf(entry.body, header.size)) };
        continue;
      } else if (header.type !== 'directory' && header.type !== 'file')
        problems.add(where, `is a ${header.type}; only plain files are read. Write the shard without it`);
      await whole(entry.body.cancel());
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

async function bytesOf(body: ReadableStream<Uint8Array>, size: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  let at = 0;
  for await (const chunk of body) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

/** Samples as rows: neighbours whose names are equal up to the first dot. */
async function* samples(files: AsyncIterable<TarFile>, path: string, problems: Problems): AsyncGenerator<Entry> {
  const seen = new DigestTable();
  for await (const group of neighbours(files, path)) {
    const [key] = split(group[0]!.name);
    const place = `${path} (${quote(key)})`;
    if (seen.add(digestBytes(key), 0) !== null)
      problems.add(place, 'its files do not stand together; sort the shard by name');
    else {
      const value = rowOf(group, key, path, problems);
      if (value) yield { value, place };
    }
  }
}

async function* neighbours(files: AsyncIterable<TarFile>, path: string): AsyncGenerator<TarFile[]> {
  const most = DEFAULTS['dataset.maxSampleBytes'].value;
  let group: TarFile[] = [];
  let bytes = 0;
  for await (const file of files) {
    if (group.length > 0 && split(file.name)[0] !== split(group[0]!.name)[0]) {
      yield group;
      [group, bytes] = [[], 0];
    }
    group.push(file);
    bytes += file.data.byteLength;
    if (bytes > most) throw bad(`${path} (${quote(file.name)}): its sample has over ${most} bytes. Make it smaller.`);
  }
  if (group.length > 0) yield group;
}

/** The name of a sample and what follows its first dot. */
function split(name: string): [key: string, extension: string] {
  const base = name.lastIndexOf('/') + 1;
  const dot = name.indexOf('.', base);
  return dot < 0 ? [name, ''] : [name.slice(0, dot), name.slice(dot + 1)];
}

const unknown = (extension: string) =>
  extension.includes('.')
    ? `the name of a sample ends at its first dot, so this is its file ${quote(extension)}, of which nothing is known; write names without other dots`
    : 'of this kind of file nothing is known; pictures, .json, .txt and .cls are read; write the shard without it';

function rowOf(files: readonly TarFile[], key: string, path: string, problems: Problems): object | null {
  const images: { bytes: Uint8Array; path: string }[] = [];
  const row: Record<string, unknown> = {};
  for (const { name, data } of files) {
    const extension = split(name)[1].toLowerCase();
    const place = `${path} (${quote(name)})`;
    try {
      if (PICTURE_NAME.test(extension)) images.push({ bytes: data, path: name });
      else if (extension === 'json') {
        const value = parseJson(data, place, { errorName: 'BadDataset', writtenNumbers: true });
        if (!isObject(value)) throw bad(`${place}: an object is expected. Correct it.`);
        Object.assign(row, value);
      } else if (extension === 'txt' || extension === 'caption') row['text'] = decodeUtf8(data, place, 'BadDataset');
      else if (extension === 'cls') row['label'] = decodeUtf8(data, place, 'BadDataset').trim();
      else problems.add(place, unknown(extension));
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
