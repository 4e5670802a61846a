import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packTar } from 'modern-tar';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sha256 } from '../../core/digest.ts';
import { datasetIn, jsonl, png, refused, short, talk } from '../../test/forms/made.ts';
import type { About } from '../write-manifest.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-readers-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const FIXTURES = new URL('../../test/fixtures/formats/', import.meta.url);
const fixture = (name: string) => readFileSync(new URL(name, FIXTURES));

const dataset = (files: Record<string, Uint8Array | string>, about: Partial<About> = {}) =>
  datasetIn(folder, files, about);

/** A picture that a fixture embeds. */
async function pictureOf(name: string, sample: number): Promise<Uint8Array> {
  const { splits, pictures } = await dataset({ [name]: fixture(name) }, { question: 'What?' });
  return pictures.get(splits.train![sample]!.images[0]!)!;
}

describe('files that other programs wrote, read as they read them', () => {
  interface Expected {
    readonly id?: string;
    readonly question: string;
    readonly answer: string;
    readonly references: string[];
    readonly images: string[];
  }
  const expected: Record<string, Expected[]> = JSON.parse(fixture('expected.json').toString());
  it.each(Object.entries(expected))('%s', async (name, samples) => {
    const { splits, pictures } = await dataset({ [name]: fixture(name) }, { question: 'Which animal?' });
    expect(splits.train).toHaveLength(samples.length);
    for (const [i, { id, question, answer, references, images: digests }] of samples.entries()) {
      const sample = splits.train![i]!;
      if (id !== undefined) expect(sample.id).toBe(id);
      expect(sample.turns[0]!.text).toBe(`${'<image>\n'.repeat(digests.length)}${question}`);
      expect(sample.turns.at(-1)!.text).toBe(answer);
      expect(sample.references).toEqual(references);
      expect(sample.images).toEqual(digests);
      for (const digest of digests) expect(sha256(pictures.get(digest)!)).toBe(digest);
    }
  });

  it('images of Parquet files may be paths', async () => {
    const files = { 'train.parquet': fixture('paths.parquet'), 'i/1.png': await png(1), 'i/2.png': await png(2) };
    const digests = [sha256(files['i/1.png']), sha256(files['i/2.png'])];
    const named = await dataset(files, { columns: { image: 'photo' }, ignore: ['image'] });
    expect(named.splits.train!.flatMap(({ images }) => images)).toEqual(digests);
    const { splits, pictures } = await dataset(files, { ignore: ['photo'] });
    expect(splits.train![0]!.images).toEqual(digests.slice(0, 1));
    expect(pictures.get(splits.train![1]!.images[0]!)).toEqual(
      new Uint8Array(await pictureOf('hub-labels.parquet', 1)),
    );
  });

  it('several shards are one split', async () => {
    const { splits } = await dataset(
      { 'a.parquet': fixture('vqa-none.parquet'), 'b.tar': fixture('shard-000.tar') },
      { question: 'What?', splits: { train: { samples: ['a.parquet', 'b.tar'] }, test: { samples: 'test.jsonl' } } },
    );
    expect(splits.train).toHaveLength(7);
  });
});

describe('messages', () => {
  it('texts, parts and embedded images', async () => {
    const red = await png(250);
    const { splits, pictures } = await dataset({
      'train.jsonl': jsonl([
        { id: 7, messages: talk('<image>What?', 'red'), images: ['i/1.png'], references: ['red', 'crimson'] },
        {
          messages: [
            { role: 'system', content: 'Be brief.' },
            ...talk(
              [
                { type: 'image_url', image_url: { url: `data:image/png;base64,${red.toString('base64')}` } },
                { type: 'image', image: 'i/1.png' },
                { type: 'text', text: 'Same? ' },
                { type: 'text', text: 'Say why.' },
              ],
              [{ type: 'text', text: ' no ' }],
            ),
          ],
        },
        { messages: talk([{ type: 'text', text: 'Seen ' }, { type: 'image' }], 'yes'), images: ['i/1.png'] },
      ]),
      'i/1.png': await png(1),
    });
    expect(splits.train!.map(short)).toEqual([
      { said: ['user: <image>What?', 'assistant: red'], images: 1, references: ['red', 'crimson'] },
      {
        said: ['system: Be brief.', 'user: <image>\n<image>\nSame? Say why.', 'assistant: no'],
        images: 2,
        references: ['no'],
      },
      { said: ['user: Seen <image>\n', 'assistant: yes'], images: 1, references: ['yes'] },
    ]);
    expect(splits.train!.map(({ id }) => id)).toEqual(['7', 'train.jsonl:2', 'train.jsonl:3']);
    expect(pictures.get(splits.train![1]!.images[0]!)).toEqual(new Uint8Array(red));
  });

  const parts = (...content: unknown[]) => ({ messages: talk(content, 'yes') });
  const text = { type: 'text', text: 'What?' };
  it.each([
    [
      'a URL',
      parts({ type: 'image_url', image_url: { url: 'https://example.org/a.png' } }, text),
      /train\.jsonl:1.*URL/,
    ],
    ['a way out', parts({ type: 'image', image: '../../etc/passwd' }, text), /leaves the dataset/],
    ['half a data URI', parts({ type: 'image', image: 'data:image/png;base64,iVBOR' }, text), /not a whole base64/],
    ['no image at all', parts({ type: 'image' }, text), /turn 1 \(user\), part 1 is an image, but "images" has only 0/],
    ['an unknown part', parts({ type: 'input_audio' }, text), /turn 1 \(user\), part 1 has the type "input_audio"/],
    ['a marker as text', parts({ type: 'text', text: 'see <image>' }), /make it a part of type image/],
    [
      'a tool',
      { messages: [{ role: 'tool', content: '1' }, ...talk('a', 'b')] },
      /turn 1 is the result of a tool that no turn before it calls/,
    ],
    ['no answer', { messages: [{ role: 'user', content: 'a' }] }, /no assistant turn/],
    [
      'a data URI that is no image',
      parts({ type: 'image', image: 'data:image/png;base64,AAECAw==' }, text),
      /train\.jsonl:1: turn 1 \(user\), part 1: image: /,
    ],
  ])('%s is refused by name', async (_, sample, message) => {
    await expect(dataset({ 'train.jsonl': jsonl([sample]) })).rejects.toMatchObject(refused(message));
  });
});

describe('imagefolder', () => {
  it('metadata.csv and metadata.jsonl name the images from where they lie', async () => {
    const csv = 'file_name,text\nsub/1.png,"A red, ""small"" square."\n2.png,"Two\nlines"\n';
    const files = { 'train/metadata.csv': csv, 'train/sub/1.png': await png(1), 'train/2.png': await png(2) };
    const { splits } = await dataset(files, { question: 'Describe it.' });
    expect(splits.train!.map(short)).toEqual([
      {
        said: ['user: <image>\nDescribe it.', 'assistant: A red, "small" square.'],
        images: 1,
        references: ['A red, "small" square.'],
      },
      { said: ['user: <image>\nDescribe it.', 'assistant: Two\nlines'], images: 1, references: ['Two\nlines'] },
    ]);
    const lines = jsonl([{ file_name: '2.png', q: 'What?', a: 'blue' }]);
    const named = await dataset(
      { 'more/metadata.jsonl': lines, 'more/2.png': await png(3) },
      {
        columns: { question: 'q', answer: 'a' },
        splits: { train: { samples: 'more' }, test: { samples: 'test.jsonl' } },
      },
    );
    expect(named.splits.train![0]!.turns[0]!.text).toBe('<image>\nWhat?');
  });

  it('without metadata the folder of an image is its label', async () => {
    const files = {
      'train/cat/1.png': await png(1),
      'train/cat/2.jpg': await sharp(await png(2))
        .jpeg()
        .toBuffer(),
    };
    const about: Partial<About> = {
      question: 'Which animal?',
      splits: { train: { samples: 'train' }, test: { samples: 'test.jsonl' } },
    };
    const { splits } = await dataset({ ...files, 'train/dog/1.png': await png(3), 'train/README.md': 'text' }, about);
    expect(splits.train!.map(({ turns }) => turns[1]!.text)).toEqual(['cat', 'cat', 'dog']);
    await expect(dataset({ ...files, 'train/dog/2.svg': '<svg/>' }, about)).rejects.toThrow(
      /train\/dog\/2\.svg: SVG is not read/,
    );
    rmSync(join(folder, 'train/dog/2.svg'));
    await expect(dataset({ ...files, 'train/3.png': await png(3) }, about)).rejects.toThrow(/lies in no folder/);
  });

  it.each([
    ['a way out', 'file_name,label\n../../etc/passwd,a\n', /metadata\.csv:2: file_name .*leaves the dataset/],
    ['a quote that never ends', 'file_name,label\n"1.png,a\n', /metadata\.csv: not a CSV file/],
    ['a column twice', 'file_name,label,label\n1.png,a,b\n', /a column stands there twice/],
    ['a missing image', 'file_name,label\n1.png,a\n', /"train\/1\.png" is not in "files"/],
    ['no answer', 'file_name,label\n1.png,\n', /a row has no answer: nothing stands under "label"/],
  ])('%s is refused by name', async (_, csv, message) => {
    await expect(dataset({ 'train/metadata.csv': csv }, { question: 'What?' })).rejects.toMatchObject(refused(message));
  });

  it('labels without a question are refused', async () => {
    const files = { 'train/metadata.csv': 'file_name,label\n1.png,a\n', 'train/1.png': await png(1) };
    await expect(dataset(files)).rejects.toThrow(/write "question" into dataset\.json/);
  });
});

describe('tar shards that mean harm or came to harm', () => {
  type Link = 'symlink' | 'link';
  const tar = (entries: { name: string; type?: Link; linkname?: string; body?: string }[]) =>
    packTar(
      entries.map(({ name, type, linkname, body = '' }) =>
        type ? { header: { name, type, linkname, size: 0 } } : { header: { name, size: body.length }, body },
      ),
    );
  it.each([
    ['a link', () => tar([{ name: '1.png', type: 'symlink', linkname: '/etc/passwd' }]), /"1\.png"\): is a symlink/],
    ['a hard link', () => tar([{ name: '1.png', type: 'link', linkname: '0.png' }]), /is a link/],
    ['a way out', () => tar([{ name: '../1.png', body: 'x' }]), /"\.\.\/1\.png"\): leaves the dataset/],
    ['an absolute path', () => tar([{ name: '/1.png', body: 'x' }]), /absolute path/],
    [
      'a text that is no image',
      () =>
        tar([
          { name: '1.png', body: '<html>' },
          { name: '1.cls', body: 'a' },
        ]),
      /shard\.tar \("1"\): image "1\.png": a web page/,
    ],
    ['broken JSON', () => tar([{ name: '1.json', body: '{"a":' }]), /shard\.tar \("1\.json"\):1/],
    ['an unknown file', () => tar([{ name: '1.pickle', body: 'x' }]), /nothing is known/],
    [
      'a sample torn apart',
      () =>
        tar([
          { name: '1.cls', body: 'a' },
          { name: '2.cls', body: 'a' },
          { name: '1.txt', body: 'b' },
        ]),
      /stand together/,
    ],
    [
      'a cut',
      async () => (await tar([{ name: '1.txt', body: 'x'.repeat(2000) }])).subarray(0, 1500),
      /shard\.tar: .*not whole/,
    ],
    [
      'a wrong checksum',
      async () => (await tar([{ name: '1.cls', body: 'a' }])).map((b, i) => (i === 3 ? 65 : b)),
      /shard\.tar: not a tar/,
    ],
    ['no tar', async () => new Uint8Array(1024).fill(7), /shard\.tar: not a tar/],
    ['a compressed tar', async () => Uint8Array.of(0x1f, 0x8b, 8, 0), /gunzip/],
  ])('%s is refused by name', async (_, make, message) => {
    const made = dataset({ 'shard.tar': await make() }, { question: 'What?' });
    await expect(made).rejects.toMatchObject(refused(message));
  });

  it('those that GNU tar wrote are read', async () => {
    const { splits } = await dataset({ 'gnu.tar': fixture('gnu.tar') }, { question: 'What?' });
    expect(splits.train!.map(({ turns }) => turns[1]!.text)).toEqual(['red']);
  });
});

describe('Parquet files that mean harm or came to harm', () => {
  const hub = () => new Uint8Array(fixture('vqa-zstd.parquet'));
  it.each([
    ['another file', async () => png(1), /train\.parquet: not a whole Parquet file/],
    ['a cut', async () => hub().subarray(0, -10), /not a whole Parquet file/],
    ['a damaged footer', async () => hub().map((b, i, all) => (i > all.length - 300 ? b ^ 0x55 : b)), /train\.parquet/],
    ['a damaged page', async () => hub().map((b, i) => (i > 3 && i < 80 ? 0xff : b)), /train\.parquet/],
    ['a bomb', async () => fixture('bomb.parquet'), /train\.parquet: unpacked, it is over the limit of \d+ bytes/],
    ['no image columns', async () => fixture('numbers.parquet'), /train\.parquet row 1: no form of samples fits/],
  ])('%s is refused by name', async (_, make, message) => {
    const made = dataset({ 'train.parquet': new Uint8Array(await make()) });
    await expect(made).rejects.toMatchObject(refused(message));
  });

  it('every cut and many changed bytes end in a named error, or read', async () => {
    const whole = hub();
    for (let i = 0; i < 60; i++) {
      const bytes = whole.slice();
      for (let k = 0; k < 3; k++) bytes[(i * 7919 + k * 104_729) % bytes.length]! ^= 1 << (i % 8);
      await dataset({ 'train.parquet': bytes }).catch((error: unknown) =>
        expect(error).toMatchObject(refused(/train\.parquet/)),
      );
    }
  });
});
