import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LiloraError } from '../core/errors.ts';
import { localFolder } from './local-folder.ts';
import type { DatasetSource } from './source.ts';
import { type Encoder, type ValidateOptions, validateDataset } from './validate.ts';
import { writeManifest } from './write-manifest.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-alike-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

type Row = Readonly<Record<string, unknown>>;

/** Two splits of rows, and other files. */
async function write(train: readonly Row[], test: readonly Row[], files: Record<string, Uint8Array | string> = {}) {
  const lines = (rows: readonly Row[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  for (const [path, bytes] of Object.entries({ ...files, 'train.jsonl': lines(train), 'test.jsonl': lines(test) })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
  const splits = { train: { samples: 'train.jsonl' }, test: { samples: 'test.jsonl' } };
  const about = { name: 'alike', kind: 'open', metric: 'exact', licence: 'CC0-1.0', source: 'made' } as const;
  await writeManifest(folder, { ...about, splits });
}
const validate = (options?: ValidateOptions, source: DatasetSource = localFolder(folder)) =>
  validateDataset(source, options);
const row = (question: string, answer: string, image?: string) => ({ question, answer, ...(image && { image }) });
const picture = (red: number) =>
  sharp({ create: { width: 24, height: 16, channels: 3, background: { r: red, g: 2, b: 3 } } });

describe('samples that are alike are counted and told', () => {
  it('said twice within a split, and the same words otherwise written', async () => {
    await write(
      [row('How many legs has a cat?', 'four'), row('How many legs has a cat?', 'four'), row('And a fish?', 'none')],
      [row('how many  LEGS has a cat', 'Four.'), row('And a bird?', 'two')],
    );
    const { alike, splits } = await validate();
    expect(splits.train).toHaveLength(3);
    expect(alike).toEqual([
      {
        kind: 'same',
        splits: ['train', 'train'],
        count: 1,
        examples: [{ where: 'train.jsonl:2', other: 'train.jsonl:1' }],
      },
      {
        kind: 'near',
        splits: ['train', 'test'],
        count: 1,
        examples: [{ where: 'test.jsonl:1', other: 'train.jsonl:1' }],
      },
    ]);
  });

  it('the same pixels in another encoding, the same picture and question with another answer', async () => {
    const files = {
      'i/1.png': await picture(1).png().toBuffer(),
      'i/1.webp': await picture(1).webp({ lossless: true }).toBuffer(),
      'i/2.png': await picture(2).png().toBuffer(),
      'i/unused.png': await picture(3).png().toBuffer(),
      'README.md': 'about',
    };
    await write(
      [row('Which?', 'cat', 'i/1.png'), row('Which?', 'dog', 'i/2.png')],
      [row('Which?', 'cat', 'i/1.webp'), row('Which?', 'owl', 'i/2.png')],
      files,
    );
    const { alike, unused } = await validate();
    expect(alike.map(({ kind, splits, examples }) => [kind, ...splits, examples[0]!.where])).toEqual([
      ['near', 'train', 'test', 'test.jsonl:1'],
      ['question', 'train', 'test', 'test.jsonl:2'],
    ]);
    expect(unused).toEqual({ count: 2, examples: ['README.md', 'i/unused.png'] });
  });

  it('an equal sample in another split is found behind others that are nearly the same', async () => {
    await write([row('Who?', 'a b'), row('who', 'A, b'), row('WHO', 'a b!')], [row('And?', 'c'), row('who', 'A, b')]);
    await expect(validate()).rejects.toThrow(/test\.jsonl:2: the same sample as train\.jsonl:2: splits train and test/);
  });

  it('answers of signs alone are not alike', async () => {
    await write([row('What is drawn?', '+'), row('What is drawn?', '-')], [row('What is drawn?', '*')]);
    expect((await validate()).alike).toEqual([]);
  });
});

describe('whatever goes wrong while a dataset is read has a name', () => {
  const good = () => write([row('What?', 'a'), row('Who?', 'b')], [row('Where?', 'c')]);
  /** A source of which one file cannot be opened. */
  const failing = (error: Error): DatasetSource => ({
    ...localFolder(folder),
    open: (path, ...rest) => (path === 'test.jsonl' ? Promise.reject(error) : localFolder(folder).open(path, ...rest)),
  });

  it('a file system that refuses a file: the file, once and for all', async () => {
    await good();
    const error = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
    await expect(validate({}, failing(error))).rejects.toMatchObject({
      name: 'BadDataset',
      message: expect.stringContaining('test.jsonl: it cannot be read (EACCES: permission denied)'),
    });
  });

  it('a store that does not answer keeps its name, and may be tried again', async () => {
    await good();
    const error = new LiloraError('StoreUnavailable', 's3://data: no answer.');
    await expect(validate({}, failing(error))).rejects.toBe(error);
  });

  it('a full disk is not the fault of the data', async () => {
    await good();
    const error = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    await expect(validate({}, failing(error))).rejects.toMatchObject({ name: 'StoreUnavailable', retryable: true });
  });

  it.each([
    [new TypeError('Do not know how to serialize a BigInt'), /train\.jsonl:2: it cannot be read \(Do not know/],
    [
      new LiloraError('BadDataset', 'The chat template refuses this conversation: no system'),
      /train\.jsonl:2: The chat template refuses/,
    ],
  ])('what a processor throws is told with its place: %s', async (error, message) => {
    await good();
    const processor: Encoder = {
      contextLength: 10,
      encodeTraining({ id }) {
        if (id === 'train.jsonl:2') throw error;
        return { inputIds: new Int32Array(1) };
      },
    };
    await expect(validate({ processor })).rejects.toMatchObject({
      name: 'BadDataset',
      message: expect.stringMatching(message),
    });
  });

  it('a model that is wrong is said to be wrong', async () => {
    await good();
    const error = new LiloraError('BadModel', 'config.json: no such field.');
    const encodeTraining = () => {
      throw error;
    };
    await expect(validate({ processor: { contextLength: 10, encodeTraining } })).rejects.toBe(error);
  });
});
