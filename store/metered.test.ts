import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { storeSuite } from '../test/store-suite.ts';
import { FolderStore } from './folder.ts';
import { MeteredStore, noTraffic } from './metered.ts';

const folder = mkdtempSync(join(tmpdir(), 'lilora-metered-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const abandonIn = (name: string) => async (_: string, bytes: Uint8Array) =>
  writeFileSync(join(folder, name, '.lilora-store/new/unfinished'), bytes);
storeSuite('a folder', () => new FolderStore(join(folder, 'plain')), abandonIn('plain'));
storeSuite(
  'a metered folder',
  () => new MeteredStore(new FolderStore(join(folder, 'metered')), noTraffic()),
  abandonIn('metered'),
);

describe('a metered store', () => {
  const traffic = noTraffic();
  let store: MeteredStore;
  beforeAll(() => {
    store = new MeteredStore(new FolderStore(join(folder, 'counted')), traffic);
  });
  /** What one call adds. */
  const added = async (run: () => Promise<unknown>) => {
    const before = { ...traffic };
    await run();
    const { bytesRead, bytesWritten, reads, writes } = traffic;
    return [
      bytesRead - before.bytesRead,
      bytesWritten - before.bytesWritten,
      reads - before.reads,
      writes - before.writes,
    ];
  };
  const ten = new Uint8Array(10);

  it('counts bytes and requests of every call', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, new Uint8Array(1000));
    expect(await added(() => store.put('a', ten))).toEqual([0, 10, 0, 1]);
    expect(await added(() => store.get('a'))).toEqual([10, 0, 1, 0]);
    expect(await added(() => store.head('a'))).toEqual([0, 0, 1, 0]);
    expect(await added(() => store.create('a', ten))).toEqual([0, 10, 0, 1]);
    expect(await added(() => store.replace('a', ten, 'x'))).toEqual([0, 10, 0, 1]);
    expect(await added(() => store.upload('f', file))).toEqual([0, 1000, 0, 1]);
    expect(await added(() => store.createFrom('g', file))).toEqual([0, 1000, 0, 1]);
    expect(await added(() => store.download('f', join(folder, 'back')))).toEqual([1000, 0, 1, 0]);
    const listing = async () => {
      for await (const _ of store.list(''));
    };
    expect(await added(listing)).toEqual([0, 0, 0, 1]);
    expect(await added(() => store.level(''))).toEqual([0, 0, 0, 1]);
    expect(await added(() => store.delete('f'))).toEqual([0, 0, 0, 0]);
  });

  it('counts of an abandoned body only what came', async () => {
    await store.put('large', new Uint8Array(5_000_000));
    const [read] = await added(async () => {
      const object = await store.open('large');
      for await (const _ of object.chunks) break;
    });
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThan(5_000_000);
  });
});
