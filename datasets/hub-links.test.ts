import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { localFolder } from './local-folder.ts';
import { plainFiles } from './write-manifest.ts';

let cache: string;
let snapshot: string;
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'lilora-hub-'));
  snapshot = join(cache, 'datasets--a--b/snapshots/rev');
  mkdirSync(join(snapshot, 'data'), { recursive: true });
  mkdirSync(join(cache, 'datasets--a--b/blobs/deep'), { recursive: true });
  writeFileSync(join(cache, 'datasets--a--b/blobs/aaa'), 'in the cache');
  writeFileSync(join(cache, 'datasets--a--b/blobs/deep/bbb'), 'deeper');
  writeFileSync(join(cache, 'outside'), 'outside');
});
afterEach(() => rmSync(cache, { recursive: true, force: true }));

it('a link of the cache of huggingface_hub to its own blobs is followed', async () => {
  symlinkSync('../../../blobs/aaa', join(snapshot, 'data/train.jsonl'));
  expect(await plainFiles(snapshot, '')).toEqual(['data/train.jsonl']);
  const source = localFolder(snapshot);
  expect(Buffer.from(await source.read('data/train.jsonl')).toString()).toBe('in the cache');
  const file = await source.open('data/train.jsonl', join(cache, 'spool'));
  expect(Buffer.from(await file.slice(0, file.size)).toString()).toBe('in the cache');
  await file.close();
});

it.each([
  ['out of the cache', '../../../../outside'],
  ['to a file beside', 'other'],
  ['to nothing', '../../../blobs/zzz'],
  ['to a folder', '../../../blobs'],
  ['below the blobs', '../../../blobs/deep/bbb'],
])('a link %s is refused with what helps', async (_, target) => {
  writeFileSync(join(snapshot, 'data/other'), 'x');
  symlinkSync(target, join(snapshot, 'data/train.jsonl'));
  const refusal = /a symbolic link, which is not followed.*cp -rL.*--local-dir/;
  await expect(plainFiles(snapshot, '')).rejects.toThrow(refusal);
  await expect(localFolder(snapshot).read('data/train.jsonl')).rejects.toThrow(refusal);
});

it('no link of another folder is followed, nor a folder of links', async () => {
  const plain = join(cache, 'plain/rev');
  mkdirSync(plain, { recursive: true });
  symlinkSync(join(cache, 'datasets--a--b/blobs/aaa'), join(plain, 'train.jsonl'));
  await expect(localFolder(plain).read('train.jsonl')).rejects.toThrow(/symbolic link/);
  symlinkSync('../../blobs', join(snapshot, 'blobs'));
  await expect(localFolder(snapshot).read('blobs/aaa')).rejects.toThrow(/symbolic link/);
});
