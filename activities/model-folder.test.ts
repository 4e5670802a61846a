import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, expect, it } from 'vitest';
import { FolderStore } from '../store/folder.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { DataContext } from './context.ts';
import { folderDigest, modelFolder } from './model-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'lilora-model-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A place that gives a shard in four parts, slower than the heartbeat timeout. */
const slow = (source: string): ObjectStore =>
  Object.assign(Object.create(new FolderStore(source)), {
    download: async (key: string, path: string) => {
      const bytes = readFileSync(join(source, key));
      for (let i = 0; i < 4; i++) {
        appendFileSync(path, bytes.subarray((i * bytes.length) / 4, ((i + 1) * bytes.length) / 4));
        await sleep(100);
      }
    },
  });

it('tells while a shard comes how much of the model is there, often enough to stay alive, and checks the whole', async () => {
  const source = join(folder, 'source');
  const store = new FolderStore(source);
  await store.create('config.json', Buffer.from('{}'));
  await store.create('model.safetensors', Buffer.alloc(4000, 7));
  writeFileSync(join(source, 'notes.md'), 'not of the model');
  const digest = await folderDigest(source);
  const context: DataContext = {
    store,
    openPlace: async () => slow(source),
    cache: join(folder, 'cache'),
    codeVersion: '',
  };
  const fetch = (wanted: string | null) => {
    const environment = new MockActivityEnvironment({ heartbeatTimeoutMs: 150 });
    const beats: Array<{ model?: { fetchedBytes: number; totalBytes: number } }> = [];
    environment.on('heartbeat', (told) => beats.push(told));
    return { beats, done: environment.run(() => modelFolder(context, 's3://m/tiny', wanted, { weights: true })) };
  };
  await expect(fetch('another').done).rejects.toThrow(/is not the one this stream was defined with/);
  const { beats, done } = fetch(digest);
  const found = (await done) as Awaited<ReturnType<typeof modelFolder>>;
  expect(found.digest).toBe(digest);
  expect(readdirSync(found.folder).sort()).toEqual(['config.json', 'model.safetensors']);
  const told = beats.flatMap(({ model }) => model ?? []);
  expect(told.length).toBeGreaterThan(5);
  expect(new Set(told.map(({ totalBytes }) => totalBytes))).toEqual(new Set([4002]));
  const bytes = told.map(({ fetchedBytes }) => fetchedBytes);
  expect(bytes).toEqual(bytes.toSorted((a, b) => a - b));
  expect(bytes.some((n) => n > 1000 && n < 4000)).toBe(true);
  // Found again without the place.
  expect(await modelFolder(context, 's3://m/tiny', digest, { weights: true })).toEqual(found);
});

it('names no folder of a worker where the store is elsewhere', async () => {
  for (const uri of ['/etc', '/proc/self', '../..'])
    await expect(
      modelFolder({ localModels: false } as DataContext, uri, null, { weights: false }),
    ).rejects.toMatchObject({ name: 'BadConfig', message: expect.stringMatching(/s3:\/\/ only/) });
});
