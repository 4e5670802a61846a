import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LlavaSample, writeSmallDataset } from '../../test/small-dataset.ts';
import { localFolder } from '../local-folder.ts';
import { openProcessor } from '../processor/processor.ts';
import { inTemporaryFolder, validateDataset } from '../validate.ts';
import { MostCommon } from './most-common.ts';
import { Tally } from './tally.ts';
import { type LookOptions, lookAt } from './view.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-look-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (
  more: { spoil?: (samples: LlavaSample[], split: string) => void; shards?: boolean; train?: number } = {},
) => writeSmallDataset(folder, { name: 'colours', train: 6, test: 3, seed: 1, ...more });
const MODEL = new URL('../../test/fixtures/llava-gqa/model', import.meta.url).pathname;
const named = async () => ({ name: 'tiny', processor: await openProcessor(MODEL) });
const look = (options?: LookOptions) => inTemporaryFolder((spool) => lookAt(localFolder(folder), spool, options));
/** Width, height and the colour in the middle. */
async function seen(small: string | null) {
  const bytes = Buffer.from(small!.split(',')[1]!, 'base64');
  const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
  const at = (Math.floor(info.height / 2) * info.width + Math.floor(info.width / 2)) * 3;
  return { width: info.width, height: info.height, rgb: [...data.subarray(at, at + 3)] };
}

describe('what there is to see of a dataset', () => {
  it('counts samples, turns, answers and pictures, and shows all samples of a small one', async () => {
    await write();
    const { view, dataset, refused } = await look();
    expect(refused).toBeNull();
    expect([view.name, view.digest, view.problems]).toEqual(['colours', dataset!.digest, []]);
    expect(view.splits).toMatchObject([
      { name: 'train', samples: 6, turns: 12, answers: 6, images: 6, textOnly: 0 },
      { name: 'test', samples: 3, turns: 6, answers: 3, images: 3, textOnly: 0 },
    ]);
    const { splits } = await validateDataset(localFolder(folder));
    const answers = splits.train!.map(({ turns }) => turns[1]!.text);
    for (const { text, counts } of view.answers.commonest)
      expect(counts[0], text).toBe(answers.filter((answer) => answer === text).length);
    const tested = splits.test!.map(({ turns }) => turns[1]!.text);
    expect(view.answers.distinct[1]).toEqual({ count: new Set(tested).size, atLeast: false });
    expect(view.answers.unseen).toBe(tested.filter((answer) => !answers.includes(answer)).length);
    // '<image>\nWhat colour is it?' and the answer.
    expect(view.splits[0]!.lengths!.max).toBe(26 + Math.max(...answers.map(({ length }) => length)));
    expect(view.pictures).toMatchObject({ count: 9, distinct: 1, sizes: [{ width: 28, height: 28, count: 9 }] });
    expect(view.samples.map(({ id }) => id)).toEqual([
      ...['train-0', 'train-1', 'train-2', 'train-3', 'train-4', 'train-5'],
      ...['test-0', 'test-1', 'test-2'],
    ]);
    const COLOURS: Record<string, number> = { red: 0, green: 1, blue: 2 };
    for (const { pictures, turns } of view.samples) {
      const { width, height, rgb } = await seen(pictures[0]!.small);
      expect([width, height, rgb.indexOf(Math.max(...rgb))]).toEqual([28, 28, COLOURS[turns[1]!.text]]);
    }
  });

  it('draws twenty samples of many, test samples among them, the same ones again', async () => {
    await write({ train: 90 });
    const ids = async () => (await look()).view.samples.map(({ id }) => id);
    const drawn = await ids();
    expect(drawn).toHaveLength(20);
    expect(drawn.filter((id) => id.startsWith('test'))).toHaveLength(3);
    expect(await ids()).toEqual(drawn);
    expect(drawn.slice(0, 17)).not.toEqual(Array.from({ length: 17 }, (_, i) => `train-${i}`));
  });

  it('has the pictures that stand within samples files, too', async () => {
    await write({ shards: true });
    const { samples } = (await look()).view;
    expect(samples).toHaveLength(9);
    for (const { pictures } of samples) expect(await seen(pictures[0]!.small)).toMatchObject({ width: 28, height: 28 });
  });

  it('has the picture of every sample that shares it with others of its file', async () => {
    const pixel = await sharp({ create: { width: 40, height: 20, channels: 3, background: 'green' } })
      .png()
      .toBuffer();
    await write({
      spoil: (samples) => {
        for (const sample of samples) sample.image = `data:image/png;base64,${pixel.toString('base64')}`;
        for (const [i, { conversations }] of samples.entries()) conversations[0]!.value += ` ${samples.length}.${i}`;
      },
    });
    const { samples } = (await look()).view;
    for (const { pictures } of samples) expect(await seen(pictures[0]!.small)).toMatchObject({ width: 40, height: 20 });
  });

  it('with a model shows its tokens: their texts are the prompt, those with loss the answer', async () => {
    await write();
    const model = await named();
    const { view } = await look({ model });
    const { splits, images } = await validateDataset(localFolder(folder));
    for (const { tokens, turns, id, split } of view.samples) {
      const sample = splits[split as 'train']!.find((each) => each.id === id)!;
      const { inputIds, labels } = model.processor.encodeTraining(sample, images);
      const spans = tokens!.spans.flatMap((span) => ('left' in span ? [] : [span]));
      expect(tokens!.count).toBe(inputIds.length);
      expect(spans.reduce((sum, { count }) => sum + count, 0)).toBe(inputIds.length);
      expect(tokens!.withLoss).toBe(labels!.filter((label) => label >= 0).length);
      expect(spans.filter(({ kind }) => kind === 'image')).toEqual([
        { text: '<image>', loss: false, kind: 'image', count: 26 },
      ]);
      const learned = spans.filter(({ loss }) => loss).map(({ text }) => text);
      expect(learned.slice(0, -1).join('').trim()).toBe(turns[1]!.text);
      expect(spans.map(({ text }) => text).join('')).toContain('What colour is it?');
    }
    expect(view.splits[0]!.lengths!.max).toBe(Math.max(...view.samples.slice(0, 6).map(({ tokens }) => tokens!.count)));
  });

  it('shows a refused dataset with every problem and what was read of it', async () => {
    await write({
      spoil: (samples) => {
        samples[2]!.image = 'images/none.png';
      },
    });
    const { view, refused } = await look();
    expect(refused).toMatchObject({ name: 'BadDataset' });
    expect(view.problems.map(({ text }) => text).join('\n')).toMatch(/none\.png/);
    // The sample of the picture that is not there was not read.
    expect([view.digest, view.splits[0]!.samples]).toEqual([null, 5]);
    expect(view.samples.find(({ id }) => id === 'train-3')!.pictures[0]!.small).toMatch(/^data:image/);
  });

  it('shows the sample that something is wrong with, however much it holds', async () => {
    const image = `data:image/png;base64,${'A'.repeat(100_000)}`;
    await write({
      spoil: (samples, split) => {
        if (split === 'train')
          Object.assign(samples[4]!, { image, conversations: [{ from: 'nobody', value: 'Hello?' }] });
      },
    });
    const { problems } = (await look()).view;
    const { sample } = problems.find(({ text }) => text.includes('train.json[4]'))!;
    expect(JSON.parse(sample!)).toMatchObject({ id: 'train-4', conversations: [{ from: 'nobody', value: 'Hello?' }] });
    expect(sample!.length).toBeLessThan(1000);
  });

  it('tells what is odd: ids that repeat, samples that are alike, files that nobody uses', async () => {
    await write({
      spoil: (samples, split) => {
        if (split === 'train') Object.assign(samples[1]!, { id: samples[0]!.id });
        else samples[0] = { ...structuredClone(samples[0]!), image: 'images/train-0.png' };
        for (const { conversations } of split === 'test' ? samples.slice(0, 1) : []) conversations[1]!.value = 'none';
      },
    });
    const { view } = await look();
    expect(view.renamedIds).toMatchObject({ count: 1, shown: [{ was: 'train-0' }] });
    expect(view.alike).toMatchObject([{ kind: 'question', splits: ['train', 'test'], count: 1 }]);
    expect(view.unusedFiles).toEqual({ count: 1, shown: ['images/test-0.png'] });
  });

  it('shows that nothing could be read', async () => {
    writeFileSync(join(folder, 'dataset.json'), '{"schema": 1');
    const { view } = await look();
    expect(view).toMatchObject({
      digest: null,
      splits: [],
      samples: [],
      problems: [{ text: expect.stringMatching(/dataset\.json/) }],
    });
  });
});

describe('numbers in bounded memory', () => {
  it('middle, ends and bars of a distribution, worked by hand', () => {
    const tally = new Tally();
    for (let i = 1; i <= 100; i++) tally.add(i);
    const view = tally.view()!;
    expect(view).toMatchObject({ count: 100, min: 1, max: 100, mean: 50.5, median: 50, p95: 95 });
    // Ninety-nine values in at most 24 round bars: five wide.
    expect(view.bars[0]).toEqual({ from: 0, to: 5, count: 4 });
    expect(view.bars.at(-1)).toEqual({ from: 95, to: 101, count: 6 });
    expect(view.bars.reduce((sum, { count }) => sum + count, 0)).toBe(100);
    expect(new Tally().view()).toBeNull();
  });

  it('large numbers are told to three digits, and the longest exactly', () => {
    const tally = new Tally();
    for (let i = 0; i < 1000; i++) tally.add(123_456 + i);
    tally.add(9_999_999);
    const view = tally.view()!;
    expect([view.min, view.max]).toEqual([123_456, 9_999_999]);
    expect(Math.abs(view.median - 123_956) / 123_956).toBeLessThan(0.005);
    expect(view.bars.reduce((sum, { count }) => sum + count, 0)).toBe(1001);
  });

  it('what is common is counted, and above the limit only what is known', () => {
    const found = new MostCommon<string>(2);
    for (const text of ['a', 'b', 'b', 'c']) found.add(text, text);
    expect(found.top(1)).toEqual([{ key: 'b', value: 'b', count: 2 }]);
    expect([found.full, found.distinct, found.count('a'), found.count('c')]).toEqual([true, 2, 1, 0]);
  });
});
