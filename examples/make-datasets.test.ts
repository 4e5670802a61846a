import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../core/digest.ts';
import { localFolder } from '../datasets/local-folder.ts';
import { openProcessor, type Processor } from '../datasets/processor/processor.ts';
import { type ValidDataset, validateDataset } from '../datasets/validate.ts';
import { chosenLetter } from '../learning/evaluation/scorers/letter.ts';
import { writeModelFiles } from './base-model-files.ts';
import { makeDataset, makeDatasets, TASKS } from './make-datasets.ts';
import { INSTRUCTIONS } from './questions.ts';
import { SIDE } from './scenes.ts';
import { NAMED_SHAPES, SHAPES, UNNAMED_SHAPES, WORDS } from './words.ts';

/** Chance level of what only the commonest answer gives, in percent: a question must not be answerable without looking. */
const HIGHEST_FLOOR: Record<string, number> = { option: 45, digit: 16, class: 16, relation: 38, open: 35 };

const root = mkdtempSync(join(tmpdir(), 'lilora-examples-'));
const sizes = { train: 300, test: 200 };
const made = new Map<string, ValidDataset>();
const pictures = new Map<string, Uint8Array>();
let folders: Record<string, string>;
let processor: Processor;

beforeAll(async () => {
  writeModelFiles(join(root, 'model'));
  processor = await openProcessor(join(root, 'model'));
  folders = await makeDatasets(join(root, 'once'), sizes);
  for (const [name, folder] of Object.entries(folders))
    made.set(name, await validateDataset(localFolder(folder), { processor, images: pictures }));
}, 120_000);

afterAll(() => rmSync(root, { recursive: true }));

const filesOf = (folder: string) =>
  (
    readdirSync(folder, { recursive: true, withFileTypes: true }) as {
      name: string;
      parentPath: string;
      isFile(): boolean;
    }[]
  )
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length))
    .sort();
const digests = (folder: string) =>
  filesOf(folder).map((file) => `${file} ${sha256(readFileSync(join(folder, file)))}`);
const humanText = (sample: ValidDataset['splits']['test'] & object extends readonly (infer S)[] ? S : never) =>
  sample.turns.find(({ role }) => role === 'user')!.text;
const answerOf = (sample: { references: readonly string[] }) => sample.references[0]!;
const both = (name: string) => {
  const { train, test } = made.get(name)!.splits;
  return [...train!, ...test!];
};

describe('the example datasets', () => {
  it('are the six tasks of the benchmark, in its order', () => {
    expect(TASKS).toEqual(['option', 'digit', 'caption', 'class', 'relation', 'open']);
    expect([...made.keys()]).toEqual(TASKS);
  });

  it.each(TASKS)('%s passes validation with the sizes asked for, and fits into the model', (name) => {
    const { splits, manifest } = made.get(name)!;
    expect([splits.train!.length, splits.test!.length]).toEqual([sizes.train, sizes.test]);
    expect(manifest.licence).toMatch(name === 'digit' ? /CC-BY-4\.0/ : /CC0-1\.0/);
  });

  it.each(TASKS)('%s is made with the same bytes again, and with others from another seed', async (name) => {
    const again = join(root, 'again', name);
    await makeDataset(name, { ...sizes, seed: 0, instructions: 'single' }, again);
    expect(digests(again)).toEqual(digests(folders[name]!));
    const other = join(root, 'other', name);
    await makeDataset(name, { train: 10, test: 10, seed: 1, instructions: 'single' }, other);
    if (name !== 'digit')
      expect(readFileSync(join(other, 'images/0000.png'))).not.toEqual(readFileSync(join(again, 'images/0000.png')));
  });

  it.each(TASKS)('%s keeps its test split when the training split grows', async (name) => {
    const small = join(root, 'small', name);
    await makeDataset(name, { train: 20, test: 200, seed: 0, instructions: 'single' }, small);
    expect(readFileSync(join(small, 'test.json'))).toEqual(readFileSync(join(folders[name]!, 'test.json')));
  });

  it.each(TASKS)('%s shows no picture in both splits', (name) => {
    const { train, test } = made.get(name)!.splits;
    const learned = new Set(train!.flatMap(({ images }) => images));
    expect(test!.filter(({ images }) => images.some((image) => learned.has(image)))).toEqual([]);
  });

  it.each(Object.keys(HIGHEST_FLOOR))('%s cannot be answered without looking', (name) => {
    const answers = made.get(name)!.splits.test!.map(answerOf);
    const counts = new Map<string, number>();
    for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
    expect((100 * Math.max(...counts.values())) / answers.length).toBeLessThan(HIGHEST_FLOOR[name]!);
  });

  it('answers in the format that each task asks for', () => {
    for (const sample of both('option')) {
      const answer = answerOf(sample);
      expect(answer).toMatch(/^[A-D]$/);
      expect(chosenLetter(answer)).toBe(answer);
      // The letter is one of the options that the question lists.
      expect(humanText(sample)).toContain(` ${answer}. `);
    }
    for (const sample of both('caption')) {
      expect(sample.references).toHaveLength(3);
      for (const sentence of sample.references) expect(sentence).toMatch(/^[a-z ]+\.$/);
    }
    for (const sample of both('digit')) expect(answerOf(sample)).toMatch(/^[0-9]$/);
    for (const sample of both('relation')) expect(answerOf(sample)).toMatch(/^(left|right|above|below)$/);
    for (const sample of both('open')) expect(answerOf(sample)).toMatch(/^[a-z]+$/);
  });

  it('classification has all ten kinds, four of which the base model has no name for', () => {
    const kinds = new Set(both('class').map(answerOf));
    expect([...kinds].sort()).toEqual([...SHAPES].sort());
    expect(UNNAMED_SHAPES).toHaveLength(4);
    for (const name of ['option', 'caption', 'relation', 'open'])
      for (const { turns } of both(name))
        for (const unnamed of UNNAMED_SHAPES) expect(turns.map(({ text }) => text).join(' ')).not.toContain(unnamed);
    expect(NAMED_SHAPES.filter((shape) => (UNNAMED_SHAPES as readonly string[]).includes(shape))).toEqual([]);
  });

  it('words the instruction in one way, or in five', async () => {
    for (const name of TASKS) {
      const format = made.get(name)!.manifest.instructionFormat!;
      expect(both(name).filter((sample) => !humanText(sample).endsWith(format))).toEqual([]);
    }
    const [folder] = Object.values(
      await makeDatasets(join(root, 'five'), { ...sizes, names: ['open'], instructions: 'five' }),
    );
    const { splits } = await validateDataset(localFolder(folder!), { processor });
    const wordings = splits.train!.map((sample) =>
      INSTRUCTIONS.word.find((wording) => humanText(sample).endsWith(wording)),
    );
    expect(new Set(wordings)).toEqual(new Set(INSTRUCTIONS.word));
  });

  it('speaks only words that are one token each, and reads back as it was written', () => {
    const ids = (text: string) => [...processor.encodeRaw(text, [], new Map()).inputIds];
    for (const word of WORDS) expect(ids(`a ${word}`), word).toHaveLength(3);
    const texts = new Set([
      ...TASKS.flatMap((name) =>
        both(name).flatMap(({ turns, references }) => [...turns.map(({ text }) => text), ...references]),
      ),
      ...Object.values(INSTRUCTIONS).flat(),
    ]);
    for (const whole of texts) {
      const text = whole.replace(/^<image>\n/, '');
      expect(processor.decode(ids(text)).trim()).toBe(text);
      const pieces = text.match(/[A-Za-z]+|[0-9]|[^\sA-Za-z0-9]/g)!.length;
      expect(ids(text).length, text).toBe(pieces + 1);
    }
  });

  it('draws digits as their rows are: the mean of each block of pixels follows the ink', async () => {
    const rows = readFileSync(new URL('./digits/optdigits-test.csv', import.meta.url), 'utf8')
      .trim()
      .split('\n');
    const written = rows.map((row) => row.split(',').map(Number));
    const { splits } = made.get('digit')!;
    for (const sample of splits.test!.slice(0, 20)) {
      const image = sharp(pictures.get(sample.images[0]!)!);
      const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
      expect([info.width, info.height, info.channels]).toEqual([SIDE, SIDE, 3]);
      const blocks = Array.from({ length: 64 }, (_, at) => blockMean(data, at % 8, Math.floor(at / 8)));
      // Of all rows, the one that looks most like the picture carries the answer.
      const nearest = written
        .map((row) => ({ label: row[64]!, match: correlation(blocks, row.slice(0, 64)) }))
        .reduce((a, b) => (a.match > b.match ? a : b));
      expect(nearest.match).toBeGreaterThan(0.95);
      expect(String(nearest.label)).toBe(answerOf(sample));
    }
  });

  it('refuses a task that does not exist, and names those that do', async () => {
    const options = { train: 1, test: 1, seed: 0, instructions: 'single' } as const;
    await expect(makeDataset('captions', options, join(root, 'x'))).rejects.toThrow(
      /"captions".*option, digit, caption/,
    );
  });
});

function blockMean(data: Uint8Array, column: number, row: number): number {
  let sum = 0;
  for (let y = row * 4; y < row * 4 + 4; y++)
    for (let x = column * 4; x < column * 4 + 4; x++) sum += data[(y * SIDE + x) * 3]!;
  return sum / 16;
}

function correlation(a: readonly number[], b: readonly number[]): number {
  const mean = (v: readonly number[]) => v.reduce((s, x) => s + x, 0) / v.length;
  const [ma, mb] = [mean(a), mean(b)];
  const dot = (u: readonly number[], mu: number, v: readonly number[], mv: number) =>
    u.reduce((s, x, i) => s + (x - mu) * (v[i]! - mv), 0);
  return dot(a, ma, b, mb) / Math.sqrt(dot(a, ma, a, ma) * dot(b, mb, b, mb));
}
