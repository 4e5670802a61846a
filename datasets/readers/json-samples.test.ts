import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sha256 } from '../../core/digest.ts';
import { datasetIn, jsonl, png, refused, short, talk } from '../../test/forms/made.ts';
import { localFolder } from '../local-folder.ts';
import { PackedSplit } from '../packed-split.ts';
import { writeSplit } from '../prepared.ts';
import { validateDataset } from '../validate.ts';
import type { About } from '../write-manifest.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-readers-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const dataset = (files: Record<string, Uint8Array | string>, about: Partial<About> = {}) =>
  datasetIn(folder, files, about);

describe('which format a JSON file is of', () => {
  const said = (from: [string, string]) => [
    { from: from[0], value: '<image>\nWhat?' },
    { from: from[1], value: 'red' },
  ];
  it.each([
    ['sharegpt', [{ conversations: said(['user', 'assistant']), images: ['i/1.png'], system: 'Be brief.' }], 3],
    ['llava', [{ id: 'a', conversations: said(['human', 'gpt']), image: 'i/1.png', model: '{' }], 2],
    ['messages', [{ messages: talk('<image>What?', 'red'), images: ['i/1.png'] }], 2],
    ['rows', [{ image: 'i/1.png', question: 'What?', answer: 'red' }], 2],
  ])('%s is told from its first sample, and may be named', async (format, samples, turns) => {
    const files = { 'train.json': JSON.stringify(samples), 'i/1.png': await png(1) };
    const auto = await dataset(files);
    expect(auto.splits.train![0]!.turns).toHaveLength(turns);
    expect(auto.splits.train![0]!.images).toHaveLength(1);
    const lines = await dataset({ 'train.jsonl': jsonl(samples), 'i/1.png': await png(1) });
    expect(lines.splits.train![0]!.turns).toEqual(auto.splits.train![0]!.turns);
    const named = dataset(
      { ...files, 'test.json': JSON.stringify(samples).replace('What?', 'Which?') },
      { format, splits: { train: { samples: 'train.json' }, test: { samples: 'test.json' } } },
    );
    const { splits, renamed } = await named;
    expect(splits.train).toEqual(auto.splits.train);
    expect(renamed.examples).toEqual(format === 'llava' ? [{ was: 'a', id: 'a@test.json[0]' }] : []);
  });

  it('every sample of a file is read by its own keys', async () => {
    const lines = [
      {
        conversations: said(['human', 'gpt']).map(({ from, value }) => ({
          from,
          value: value.replace('<image>\n', ''),
        })),
      },
      { conversations: said(['human', 'gpt']), images: ['i/1.png'] },
      { conversations: talk('<image>Which?', 'red'), image: 'i/1.png' },
      { messages: talk('Two?', 'yes') },
      { question: 'What?', image: 'i/1.png', answer: 'blue' },
    ];
    const { splits } = await dataset({ 'train.jsonl': jsonl(lines), 'i/1.png': await png(1) });
    expect(splits.train!.map(({ images, turns }) => [images.length, turns.length])).toEqual([
      [0, 2],
      [1, 2],
      [1, 2],
      [0, 2],
      [1, 2],
    ]);
  });

  it('lines called .json and arrays called .jsonl are read', async () => {
    const samples = [1, 2].map((n) => ({ question: `${n}?`, answer: `${n}` }));
    const lines = await dataset({ 'train.json': `\n${jsonl(samples)}` });
    expect(lines.splits.train!.map(({ id }) => id)).toEqual(['train.json:2', 'train.json:3']);
    const array = await dataset({ 'train.jsonl': ` ${JSON.stringify(samples, null, 1)}` });
    expect(array.splits.train!.map(({ id }) => id)).toEqual(['train.jsonl[0]', 'train.jsonl[1]']);
    await expect(dataset({ 'train.json': JSON.stringify({ data: samples }, null, 1) })).rejects.toMatchObject(
      refused(/train\.json: a JSON array of samples.*this is one object over several lines/),
    );
    await expect(dataset({ 'train.json': JSON.stringify({ data: samples }) })).rejects.toMatchObject(
      refused(/train\.json:1: no form of samples fits the keys "data"/),
    );
  });

  it('what many samples share is told once, with the first place and their number', async () => {
    const samples = Array.from({ length: 30 }, (_, i) => ({
      question: `${i}?`,
      answer: 'a',
      imgs: ['i.png'],
      hint: `h${i}`,
    }));
    await expect(dataset({ 'train.jsonl': jsonl(samples), 'i.png': await png(1) })).rejects.toMatchObject(
      refused(
        /2 problem\(s\) found(.|\n)*train\.jsonl:1: "hint" is a key(.|\n)*"imgs" names a file.*\(30 samples of this file\)/,
      ),
    );
  });

  it('rows need no image', async () => {
    const { splits } = await dataset({ 'train.json': '[{"prompt": "Two and two?", "answers": ["4", "four", "4"]}]' });
    expect(splits.train!.map(short)).toEqual([
      { said: ['user: Two and two?', 'assistant: 4'], images: 0, references: ['4', 'four', '4'] },
    ]);
  });

  it('also behind an image of a megabyte', async () => {
    const background = { r: 9, g: 8, b: 7 };
    const flat = sharp({ create: { width: 600, height: 600, channels: 3, background } });
    const image = await flat.png({ compressionLevel: 0 }).toBuffer();
    expect(image.length).toBeGreaterThan(1_000_000);
    const uri = `data:image/png;base64,${image.toString('base64')}`;
    const content = [
      { type: 'image', image: uri },
      { type: 'text', text: 'What is "it"?' },
    ];
    const { splits, images, pictures } = await dataset({
      'train.json': JSON.stringify([{ messages: talk(content, 'noise') }]),
    });
    expect(splits.train![0]!.turns[0]!.text).toBe('<image>\nWhat is "it"?');
    // What training reads holds the same bytes.
    await writeSplit(join(folder, 'packed'), splits.train!, pictures, images);
    const packed = await PackedSplit.open(join(folder, 'packed'));
    expect(sha256((await packed.get(splits.train![0]!.images[0]!))!)).toBe(sha256(image));
  });

  it('what cannot be told is asked for', async () => {
    await expect(dataset({ 'train.bin': 'x' })).rejects.toMatchObject(
      refused(
        /"train\.bin": of what format it is cannot be told.*imagefolder, parquet, arrow, webdataset, csv, json, messages/,
      ),
    );
  });

  it('a manifest without a format keeps the version that it had when LLaVA was the only one', async () => {
    const files = {
      'train.json': JSON.stringify([{ id: 'a', conversations: said(['human', 'gpt']), image: 'i.png' }]),
    };
    const auto = await dataset({ ...files, 'i.png': await png(1), 'test.json': '[]' });
    const path = join(folder, 'dataset.json');
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), format: 'llava' }));
    await expect(validateDataset(localFolder(folder))).rejects.toThrow(/test\.jsonl/);
    expect(auto.digest).toBe((await import('../manifest.ts')).datasetVersion(JSON.parse(readFileSync(path, 'utf8'))));
  });
});
