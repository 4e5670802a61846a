import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULTS } from '../core/defaults.ts';
import { sha256 } from '../core/digest.ts';
import {
  createOrSame,
  createOrSameFrom,
  getVerified,
  type ObjectStore,
  probe,
  type UnfinishedWrite,
} from '../store/object-store.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

/**
 * The contract of the object-store port: every store passes it.
 * @param open gives an empty store
 * @param abandon begins to write bytes to it, as a process does that dies before the end
 */
export function storeSuite(
  name: string,
  open: () => ObjectStore,
  abandon: (key: string, bytes: Uint8Array) => Promise<void>,
): void {
  describe(`the object-store port on ${name}`, () => {
    let store: ObjectStore;
    let folder: string;
    beforeAll(() => {
      store = open();
      folder = mkdtempSync(join(tmpdir(), 'lilora-store-'));
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));
    const text = async (key: string) => Buffer.from((await store.get(key)).bytes).toString();
    const local = (name: string, content: string | Uint8Array) => {
      writeFileSync(join(folder, name), content);
      return join(folder, name);
    };

    it('keeps what is put, tells its size, and a new etag with new bytes', async () => {
      const first = await store.put('a/one', bytes('first'));
      expect(await text('a/one')).toBe('first');
      expect(await store.head('a/one')).toEqual({ size: 5, etag: first });
      expect(await store.put('a/one', bytes('other'))).not.toBe(first);
      expect(await text('a/one')).toBe('other');
      await store.put('a/empty', bytes(''));
      expect(await text('a/empty')).toBe('');
    });

    it('reads alike where the caller checks the bytes, whatever the name', async () => {
      const names = ['a/plain.png', 'a/ärger 1+2=3 (neu)!*.png', "a/it's 100%25 & more?x=#y.png"];
      for (const [i, name] of names.entries()) await store.put(name, bytes(`${i}`));
      // The first read may go another way than those after it.
      for (let round = 0; round < 2; round++)
        for (const [i, name] of names.entries()) {
          const read = await store.getUnchecked(name);
          expect(Buffer.from(read.bytes).toString()).toBe(`${i}`);
          expect(read).toEqual(await store.get(name));
        }
      await expect(store.getUnchecked('a/missing')).rejects.toMatchObject({ name: 'NotFound' });
      const never = () => {
        throw new RangeError('not wanted');
      };
      await expect(store.getUnchecked(names[0]!, never)).rejects.toThrow('not wanted');
    });

    it('reads nothing of an object that its reader does not accept, and holds no connection of it', async () => {
      await store.put('a/large', new Uint8Array(3 << 20));
      const tooLarge = (size: number) => {
        if (size > 1 << 20) throw new RangeError(`${size} bytes`);
      };
      const reads = await Promise.allSettled(Array.from({ length: 60 }, () => store.get('a/large', tooLarge)));
      for (const read of reads) expect(read).toMatchObject({ reason: { message: '3145728 bytes' } });
      expect((await store.get('a/large', () => {})).bytes.length).toBe(3 << 20);
    });

    it('says what is missing, by name', async () => {
      expect(await store.head('none')).toBeNull();
      await expect(store.get('none')).rejects.toMatchObject({
        name: 'NotFound',
        message: expect.stringContaining('none'),
      });
      await expect(store.download('none', join(folder, 'none'))).rejects.toMatchObject({ name: 'NotFound' });
      await expect(store.upload('x', join(folder, 'no-such-file'))).rejects.toThrow(/no-such-file/);
      await expect(store.put('../x', bytes(''))).rejects.toMatchObject({ name: 'BadConfig' });
      await store.delete('none');
    });

    it('creates once and replaces only what did not change', async () => {
      expect(await store.create('once', bytes('1'))).toBe('created');
      expect(await store.create('once', bytes('2'))).toBe('exists');
      const { etag } = (await store.head('once'))!;
      expect(await store.replace('once', bytes('3'), etag)).toBe('replaced');
      expect(await store.replace('once', bytes('4'), etag)).toBe('changed');
      expect(await text('once')).toBe('3');
      await createOrSame(store, 'once', bytes('3'));
      await expect(createOrSame(store, 'once', bytes('5'))).rejects.toMatchObject({ name: 'Conflict' });
      await probe(store);
    });

    it('takes and gives files larger than a part, once', async () => {
      const path = local('parts', Buffer.alloc(2.2 * DEFAULTS['store.partMebibytes'].value * 2 ** 20, 'abcdefg'));
      expect(await store.createFrom('files/parts', path)).toBe('created');
      expect(await store.createFrom('files/parts', path)).toBe('exists');
      await store.upload('files/parts', path);
      const sha = sha256(readFileSync(path));
      await store.download('files/parts', join(folder, 'parts-back'), { sha256: sha });
      expect(sha256(readFileSync(join(folder, 'parts-back')))).toBe(sha);
    });

    it('takes and gives files, whole and as expected only', async () => {
      const path = local('large', Buffer.alloc(3_000_000, 'abc'));
      const content = readFileSync(path);
      const expected = { size: content.length, sha256: sha256(content) };
      await store.upload('files/large', path);
      expect(await store.createFrom('files/large', path)).toBe('exists');
      await createOrSameFrom(store, 'files/large', path, expected);
      await store.download('files/large', join(folder, 'back'), expected);
      expect(sha256(readFileSync(join(folder, 'back')))).toBe(expected.sha256);
      const wrong = store.download('files/large', join(folder, 'wrong'), { sha256: sha256('') });
      await expect(wrong).rejects.toMatchObject({ name: 'IntegrityError' });
      expect(() => readFileSync(join(folder, 'wrong'))).toThrow();
      await expect(getVerified(store, 'files/large', { size: 1 })).rejects.toMatchObject({ name: 'IntegrityError' });
      const object = await store.open('files/large');
      object.close();
    });

    it('lists by prefix in order, and deletes', async () => {
      for (const key of ['list/b', 'list/a/x', 'list/c', 'listing']) await store.put(key, bytes(key));
      const keys = async (prefix: string) => {
        const found: string[] = [];
        for await (const { key, size } of store.list(prefix)) {
          expect(size).toBe(key.length);
          found.push(key);
        }
        return found;
      };
      expect(await keys('list/')).toEqual(['list/a/x', 'list/b', 'list/c']);
      await store.delete('list/b');
      expect(await keys('list')).toEqual(['list/a/x', 'list/c', 'listing']);
      expect(await keys('nothing')).toEqual([]);
    });

    it('says when an object was written', async () => {
      const before = Date.now() - 2000; // stores may count whole seconds
      await store.put('time/a', bytes('a'));
      for await (const { modified } of store.list('time/')) {
        expect(modified.getTime()).toBeGreaterThan(before);
        expect(modified.getTime()).toBeLessThan(Date.now() + 2000);
      }
    });

    it('shows one level of a folder, without what lies deeper', async () => {
      for (const key of ['tree/a', 'tree/b/c', 'tree/b/d/e', 'trees']) await store.put(key, bytes(key));
      const { objects, folders } = await store.level('tree');
      expect(objects.map(({ key, size }) => [key, size])).toEqual([['tree/a', 6]]);
      expect(folders).toEqual(['tree/b']);
      expect(await store.level('nothing')).toEqual({ objects: [], folders: [] });
      const root = await store.level('');
      expect(root.folders).toContain('tree');
      expect(root.objects.map(({ key }) => key)).toContain('trees');
      await expect(store.level('../x')).rejects.toMatchObject({ name: 'BadConfig' });
    });

    it('finds writes that never ended, which no reader sees, and gives them up', async () => {
      const found = async () => {
        const writes: UnfinishedWrite[] = [];
        for await (const write of store.unfinished()) writes.push(write);
        return writes;
      };
      expect(await found()).toEqual([]);
      await abandon('never', Buffer.alloc(5 * 2 ** 20));
      const [write, ...others] = await found();
      expect(others).toEqual([]);
      expect(write).toMatchObject({ size: 5 * 2 ** 20, started: expect.any(Date) });
      expect(Math.abs(Date.now() - write!.started.getTime())).toBeLessThan(60_000);
      expect(await store.head('never')).toBeNull();
      for (let time = 0; time < 2; time++) await store.discard(write!);
      expect(await found()).toEqual([]);
    });
  });
}
