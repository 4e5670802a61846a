import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
function prepare(folder: string): { size: number; peak: number } {
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
    await imageSizes(await PackedSplit.open(${out}));
    console.log(JSON.stringify({ size, peak: process.resourceUsage().maxRSS * 1024 }));`;
  const printed = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', lines], {
    encoding: 'utf8',
  });
  return JSON.parse(printed);
}

it('of a dataset costs no memory', async () => {
  const [small, large] = [prepare(await dataset(60)), prepare(await dataset(260))];
  const more = large.size - small.size;
  expect(more).toBeGreaterThan(200 * MEBIBYTE);
  expect(large.peak - small.peak).toBeLessThan(more / 4);
}, 120_000);
