import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Random } from '../learning/training/random.ts';
import { writeManifest } from './write-manifest.ts';

/** A picture of noise takes about a million bytes. */
const SIDE = 600;
const MEBIBYTE = 2 ** 20;

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'lilora-size-'));
});
afterAll(() => rmSync(root, { recursive: true }));

async function dataset(count: number): Promise<string> {
  const folder = join(root, `d${count}`);
  mkdirSync(folder);
  const random = new Random(count);
  const noise = new Uint8Array(SIDE * SIDE * 3).map(() => random.below(256));
  const names = Array.from({ length: count }, (_, i) => `${i}.png`);
  for (const [i, name] of names.entries()) {
    noise.set([i & 255, i >> 8], 0);
    const raw = { width: SIDE, height: SIDE, channels: 3 } as const;
    writeFileSync(join(folder, name), await sharp(noise, { raw }).png({ compressionLevel: 0 }).toBuffer());
  }
  const lines = names.map((image, i) =>
    JSON.stringify({ id: `a${i}`, image, question: 'What is it?', answer: `${i}` }),
  );
  writeFileSync(join(folder, 'train.jsonl'), `${lines.slice(2).join('\n')}\n`);
  writeFileSync(join(folder, 'test.jsonl'), `${lines.slice(0, 2).join('\n')}\n`);
  const splits = { train: { samples: 'train.jsonl' }, test: { samples: 'test.jsonl' } };
  const about = { name: 'noise', kind: 'open', metric: 'exact', licence: 'CC0-1.0', source: 'noise' } as const;
  await writeManifest(folder, { ...about, splits });
  return folder;
}

/** Verifies and packs a dataset and looks at every image of it, in a process of its own. */
function prepare(folder: string, ...flags: string[]): { size: number; peak: number; samples: number } {
  const from = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);
  const [data, out] = [folder, join(folder, 'out')].map((path) => JSON.stringify(path));
  const lines = `
    import { mkdir } from 'node:fs/promises';
    import { localFolder } from ${from('./local-folder.ts')};
    import { imageSizes } from ${from('./image.ts')};
    import { ImageSpool } from ${from('./images.ts')};
    import { PackedSplit } from ${from('./packed-split.ts')};
    import { writeSplit } from ${from('./prepared.ts')};
    import { checkDataset } from ${from('./validate.ts')};
    const images = await ImageSpool.create(${out} + '.images');
    await mkdir(${out} + '.read');
    const found = await checkDataset(localFolder(${data}), ${out} + '.read', { images });
    const { size } = await writeSplit(${out}, found.splits.train, images, found.images);
    const split = await PackedSplit.open(${out});
    await imageSizes(split);
    let samples = 0;
    for await (const { turns } of split.samples) samples += turns.length / 2;
    console.log(JSON.stringify({ size, samples, peak: process.resourceUsage().maxRSS * 1024 }));`;
  const run = [...flags, '--import', 'tsx', '--input-type=module', '-e', lines];
  return JSON.parse(execFileSync(process.execPath, run, { encoding: 'utf8' }));
}

it('of a dataset costs no memory', async () => {
  const [small, large] = [prepare(await dataset(60)), prepare(await dataset(260))];
  const more = large.size - small.size;
  expect(more).toBeGreaterThan(200 * MEBIBYTE);
  expect(large.peak - small.peak).toBeLessThan(more / 4);
}, 120_000);

/** Samples of two kilobytes of text, in JSON lines and in one array. */
async function texts(count: number): Promise<string> {
  const folder = join(root, `t${count}`);
  mkdirSync(folder);
  const row = (i: number) =>
    JSON.stringify({ id: i, question: `What is ${i}?`, answer: `${i} `.repeat(2000 / (`${i}`.length + 1)) });
  for (const [name, [head, between, end]] of [
    ['train-0.jsonl', ['', '\n', '\n']],
    ['train-1.json', ['[', ',\n', ']']],
  ] as const) {
    const file = await open(join(folder, name), 'w');
    await file.write(head);
    for (let i = 0; i < count; i += 500) {
      const rows = Array.from({ length: 500 }, (_, k) => row(name.startsWith('train-0') ? i + k : -(i + k + 1)));
      await file.write(`${i === 0 ? '' : between}${rows.join(between)}`);
    }
    await file.write(end);
    await file.close();
  }
  writeFileSync(join(folder, 'test.jsonl'), '{"question": "And?", "answer": "no"}\n');
  const splits = { train: { samples: ['train-0.jsonl', 'train-1.json'] }, test: { samples: 'test.jsonl' } };
  const about = { name: 'texts', kind: 'open', metric: 'exact', licence: 'CC0-1.0', source: 'numbers' } as const;
  await writeManifest(folder, { ...about, splits });
  return folder;
}

it('of texts costs no memory: 80 MB of them are prepared in a heap of 64', async () => {
  const { size, samples } = prepare(await texts(10_000), '--max-old-space-size=64');
  expect(samples).toBe(20_000);
  expect(size).toBeGreaterThan(80_000_000);
}, 240_000);
