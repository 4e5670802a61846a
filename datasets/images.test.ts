import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { sha256 } from '../core/digest.ts';
import { ImageSpool } from './images.ts';
import { PackedSplit } from './packed-split.ts';
import { writeSplit } from './prepared.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-images-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Small ones that are written together, and some that are longer than what is written at once. */
const images = [3, 2 ** 20 - 2, 700_000, 1, 2 ** 20 + 1, 5, 600_000, 2 ** 20, 600_000].map((length, i) =>
  new Uint8Array(length).fill(i + 1),
);

it('images come back as they were put, whether or not they are written yet', async () => {
  const spool = await ImageSpool.create(join(folder, 'spool'));
  try {
    await Promise.all(images.map((bytes) => spool.set(sha256(bytes), bytes)));
    const last = new Uint8Array([9, 8, 7]);
    await spool.set(sha256(last), last);
    for (const bytes of [...images, last]) expect(sha256((await spool.get(sha256(bytes)))!)).toBe(sha256(bytes));
    expect([...spool.keys()]).toEqual([...images, last].map((bytes) => sha256(bytes)));
  } finally {
    await spool.close();
  }
});

it('what cannot be written is told, then and whenever an image is asked for', async () => {
  const spool = await ImageSpool.create(join(folder, 'spool'));
  await spool.set('aa'.repeat(32), new Uint8Array(3));
  await spool.close();
  const long = new Uint8Array(2 ** 20 + 1);
  await expect(spool.set('bb'.repeat(32), long)).rejects.toThrow(/closed|EBADF/i);
  await expect(spool.get('aa'.repeat(32))).rejects.toThrow(/closed|EBADF/i);
});

it('a split keeps images of any length, and finds them by what samples name', async () => {
  const spool = new Map(images.map((bytes) => [sha256(bytes), bytes]));
  const digests = [...spool.keys()];
  const samples = digests.map((digest, i) => ({
    id: `"images":["${i}"]`,
    images: i === 0 ? [] : [digest, digests[0]!],
    references: ['"images":[]'],
    turns: [{ role: 'user' as const, text: '"images":["x"]' }],
  }));
  await writeSplit(join(folder, 'split'), samples, spool, new Map());
  const split = await PackedSplit.open(join(folder, 'split'));
  expect([...split.keys()]).toEqual([...digests].sort());
  for (const digest of digests) expect(sha256((await split.get(digest))!)).toBe(digest);
  for (const [i, sample] of samples.entries()) expect(await split.samples.at(i)).toEqual(sample);
});
