import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../../core/digest.ts';
import { WrittenNumber } from '../../core/json.ts';
import { parseManifest } from '../manifest.ts';
import { Problems } from '../problems.ts';
import { arrow, arrowRows } from './arrow.ts';
import { parquet } from './parquet.ts';
import { openParquet } from './parquet-rows.ts';
import type { ReadSample, SamplesFile } from './reader.ts';
import { readerFor } from './registry.ts';

const FOLDER = new URL('../../test/fixtures/tables/', import.meta.url);
const fixture = (name: string) => new Uint8Array(readFileSync(new URL(name, FOLDER)));
const expected = JSON.parse(readFileSync(new URL('expected.json', FOLDER), 'utf8'));

/** A file in memory, and the longest piece of it that was read. */
function fileOf(path: string, bytes: Uint8Array, about: object = {}): SamplesFile & { longest: () => number } {
  let longest = 0;
  const listed = { path, size: bytes.length, sha256: sha256(bytes) };
  const manifest = {
    schema: 1,
    name: 'a',
    kind: 'open',
    metric: 'exact',
    splits: { train: { samples: path }, test: { samples: 'test.jsonl' } },
    files: [listed],
    licence: 'none',
    source: 'made',
    ...about,
  };
  return {
    path,
    size: bytes.length,
    manifest: parseManifest(Buffer.from(JSON.stringify(manifest))),
    async slice(start, end) {
      longest = Math.max(longest, end - start);
      // Somewhere within a larger buffer, as a file on disk gives it.
      const at = Buffer.alloc(end - start + 3);
      at.set(bytes.subarray(start, end), 3);
      return at.subarray(3);
    },
    bytes: async () => bytes,
    longest: () => longest,
  };
}

async function rowsIn(name: string): Promise<Record<string, unknown>[]> {
  const file = fileOf(name, fixture(name));
  const rows: Record<string, unknown>[] = [];
  if (name.endsWith('.parquet')) for await (const row of (await openParquet(file)).rows()) rows.push(row);
  else for await (const { value } of arrowRows(file, () => {})) rows.push(value as Record<string, unknown>);
  return rows;
}

async function samplesIn(name: string, bytes = fixture(name), about: object = {}) {
  const file = fileOf(name, bytes, about);
  const problems = new Problems(100);
  const samples: ReadSample[] = [];
  for await (const sample of await (await readerFor(file)).read(file, problems)) samples.push(sample);
  return { samples, problems };
}

/** Python gave texts of exact numbers, and numbers where they are doubles. */
function same(found: unknown, wanted: unknown, where: string): void {
  if (Array.isArray(wanted)) {
    expect(found, where).toHaveLength(wanted.length);
    for (const [i, each] of wanted.entries()) same((found as unknown[])[i], each, `${where}[${i}]`);
  } else if (typeof wanted === 'object' && wanted !== null) {
    expect(Object.keys(found as object), where).toEqual(Object.keys(wanted));
    for (const [key, each] of Object.entries(wanted)) same((found as never)[key], each, `${where}.${key}`);
  } else if (typeof wanted === 'string') {
    expect(found === null || (typeof found === 'object' && !(found instanceof WrittenNumber)), where).toBe(false);
    expect(String(found), where).toBe(wanted);
  } else expect(found, where).toBe(wanted);
}

describe('values are as Python has them, nothing rounded', () => {
  it.each(['types.parquet', 'types-old.parquet', 'types.arrow', 'types.feather'])('%s', async (name) => {
    const rows = await rowsIn(name);
    expect(rows).toHaveLength(6);
    const without = name === 'types-old.parquet' ? ['nanoseconds'] : [];
    for (const [i, row] of rows.entries())
      for (const [column, wanted] of Object.entries(expected.types[i]))
        if (!without.includes(column)) same(row[column], wanted, `row ${i}, ${column}`);
  });

  it('texts in views', async () => {
    expect(await rowsIn('views.arrow')).toEqual([
      { question: 'a?' },
      { question: null },
      { question: '\ufeffa text of over twelve bytes' },
    ]);
  });
});

describe('what a file declares of its columns', () => {
  const shape = ({ turns, images }: ReadSample) => ({
    answer: turns.at(-1)!.text,
    images: images.map((image) => (typeof image === 'string' ? image : sha256(image.bytes))),
  });
  const about = { question: 'Which animal?', columns: { answer: 'animal' } };
  const photos = expected.photo.map(({ answer, images }: { answer: string; images: string[] }) => ({ answer, images }));

  it('pictures in a column of any name, and names of classes: Parquet', async () => {
    expect((await samplesIn('photo.parquet', undefined, about)).samples.map(shape)).toEqual(photos);
  });

  it('the same in a folder that save_to_disk wrote', async () => {
    const train = await samplesIn('saved/train/data-00000-of-00001.arrow', undefined, about);
    const test = await samplesIn('saved/test/data-00000-of-00001.arrow', undefined, about);
    expect([...train.samples, ...test.samples].map(shape)).toEqual(photos);
  });

  it('lists of pictures and of classes', async () => {
    const { samples } = await samplesIn('pages.parquet');
    expect(samples.map(shape)).toEqual(
      expected.pages.map(({ answer, images }: { answer: string; images: string[] }) => ({ answer, images })),
    );
  });

  it('a class of −1 is told for what it is', async () => {
    const { samples, problems } = await samplesIn('unlabelled.parquet', undefined, { question: 'Which animal?' });
    expect(samples.map(shape)).toMatchObject([{ answer: 'dog' }]);
    await expect(problems.stage('d', () => {})).rejects.toThrow(
      /unlabelled\.parquet row 1: the answer is the class -1, which has no name: this split has no labels/,
    );
  });
});

it('a batch of Arrow is read at a time', async () => {
  for (const name of ['types.arrow', 'types.feather']) {
    const file = fileOf(name, fixture(name));
    let rows = 0;
    for await (const _ of arrowRows(file, () => {})) rows++;
    expect(rows).toBe(6);
    expect(file.longest()).toBeLessThan(file.size * 0.75);
  }
});

describe('files that came to harm or mean it', () => {
  const refused = (message: RegExp) => ({ name: 'BadDataset', message: expect.stringMatching(message) });

  it('batches packed by LZ4 are refused with what helps', async () => {
    await expect(samplesIn('lz4.feather')).rejects.toMatchObject(refused(/packed by LZ4\). Write it again, plain or/));
  });

  it.each(['types.arrow', 'types.feather', 'saved/train/data-00000-of-00001.arrow', 'types.parquet'])(
    'no cut and no flipped byte of %s does more than refuse it',
    async (name) => {
      const whole = fixture(name);
      const step = Math.ceil(whole.length / 150);
      for (let at = 0; at < whole.length; at += step) {
        const flipped = whole.slice();
        flipped[at]! ^= 0xff;
        for (const bytes of [whole.subarray(0, at), flipped])
          await samplesIn(name, bytes, { question: 'a?' }).catch((error: Error) => {
            if (error.name !== 'BadDataset' && error.message !== '') throw error;
          });
      }
    },
  );

  it('a pointer to a file somewhere else', async () => {
    const pointer = Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n');
    await expect(samplesIn('a.parquet', pointer)).rejects.toMatchObject(refused(/a Git LFS pointer.*git lfs pull/));
    const link = Buffer.from('../../../blobs/0f1e');
    await expect(samplesIn('a.arrow', link)).rejects.toMatchObject(refused(/a link of the Hub's cache.*cp -rL/));
  });

  it('a file of another kind', async () => {
    await expect(samplesIn('a.arrow', Buffer.from('hello, this is no table'))).rejects.toMatchObject(
      refused(/a\.arrow: not an Arrow file/),
    );
    await expect(samplesIn('a.arrow', Buffer.from('FEA1 an old one'))).rejects.toMatchObject(refused(/not an Arrow/));
  });
});

it('are told by their names', () => {
  const recognized = (path: string) => arrow.recognizes(fileOf(path, new Uint8Array()));
  expect(['a.arrow', 'a.feather', 'A.ARROW', 'a.parquet', 'arrow'].map(recognized)).toEqual([
    true,
    true,
    true,
    false,
    false,
  ]);
  expect(parquet.recognizes(fileOf('a.Parquet', new Uint8Array()))).toBe(true);
});
