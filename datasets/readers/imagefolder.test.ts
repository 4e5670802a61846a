import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { localFolder } from '../local-folder.ts';
import { validateDataset } from '../validate.ts';
import { type About, writeManifest } from '../write-manifest.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-imagefolder-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function dataset(files: Record<string, Uint8Array | string>, about: Pick<About, 'splits' | 'question'>) {
  const all = { 'test.jsonl': '{"question": "Ready?", "answer": "yes"}\n', ...files };
  for (const [path, bytes] of Object.entries(all)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
  const rest = { name: 'some', kind: 'open', metric: 'exact', licence: 'CC0-1.0', source: 'made' } as const;
  await writeManifest(folder, { ...rest, ...about });
  return validateDataset(localFolder(folder));
}

const png = (level: number) =>
  sharp({ create: { width: 4, height: 3, channels: 3, background: { r: level, g: 10, b: 200 } } })
    .png()
    .toBuffer();

describe('folders of pictures', () => {
  it('endings as browsers write them, or none: what a picture is, its bytes tell', async () => {
    const names = ['1.jfif', '2.jpg_large', '3.JPE', '4.pjpeg', '5', '6.bmp', '7.GIF'];
    const files = Object.fromEntries(
      await Promise.all(names.map(async (name, i) => [`train/cat/${name}`, await png(i + 1)] as const)),
    );
    const about = {
      question: 'Which animal?',
      splits: { train: { samples: 'train' }, test: { samples: 'test.jsonl' } },
    };
    const left = { 'train/cat/notes.txt': 'x', 'train/cat/._1.jfif': 'x', 'train/labels.ini': 'x' };
    const { splits, unused } = await dataset({ ...files, ...left }, about);
    expect(splits.train).toHaveLength(names.length);
    expect(unused.count).toBeGreaterThanOrEqual(2);
    await expect(dataset({ ...files, 'train/cat/8': 'no picture' }, about)).rejects.toThrow(
      /train\/cat\/8: an unknown kind of file/,
    );
  });

  it('a description above the splits is told', async () => {
    const about = {
      question: 'Which animal?',
      splits: { train: { samples: 'train' }, test: { samples: 'test.jsonl' } },
    };
    const files = { 'train/1.png': await png(1), 'metadata.jsonl': '{"file_name": "train/1.png", "label": "cat"}' };
    await expect(dataset(files, about)).rejects.toThrow(
      /metadata\.jsonl belongs to no split: put its lines into train\/metadata\.jsonl/,
    );
  });

  it('metadata.parquet', async () => {
    const table = parquetWriteBuffer({
      columnData: [
        { name: 'file_name', data: ['1.png', 'sub/2.png'], type: 'STRING' },
        { name: 'answer', data: ['one', 'two'], type: 'STRING' },
      ],
    });
    const files = {
      'train/metadata.parquet': new Uint8Array(table),
      'train/1.png': await png(1),
      'train/sub/2.png': await png(2),
    };
    for (const samples of ['train', 'train/metadata.parquet']) {
      const about = {
        question: 'Which?',
        splits: { train: { samples }, test: { samples: 'test.jsonl' } },
      };
      const { splits } = await dataset(files, about);
      expect(splits.train!.map(({ turns, images }) => [turns[1]!.text, images.length])).toEqual([
        ['one', 1],
        ['two', 1],
      ]);
      rmSync(join(folder, 'train'), { recursive: true });
    }
  });
});
