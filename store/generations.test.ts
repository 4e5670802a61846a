import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sha256 } from '../core/digest.ts';
import { FolderStore } from './folder.ts';
import {
  headGeneration,
  nextGeneration,
  publish,
  readGeneration,
  readHead,
  rollback,
  streamKeys,
} from './generations.ts';
import type { Head } from './head.ts';
import type { ObjectStore } from './object-store.ts';

let folder: string;
let store: FolderStore;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-generations-'));
  store = new FolderStore(join(folder, 'store'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const bytes = (text: string) => new TextEncoder().encode(text);
const generation = (number: number, head: Head | null, text = `bank ${number}`) => ({
  stream: 'pets',
  generation: number,
  head,
  files: [
    { path: 'bank.safetensors', bytes: bytes(text) },
    { path: 'adapters/dogs/adapter_config.json', bytes: bytes('{}') },
  ],
  lineage: { seed: 0, datasets: [{ digest: 'd' }] },
});

/** A store whose process dies before the given write. */
function dyingAt(write: number): ObjectStore {
  let count = 0;
  const guard = <F extends (...args: never[]) => unknown>(run: F) =>
    ((...args: Parameters<F>) => {
      if (++count === write) throw new Error('killed');
      return run(...args);
    }) as F;
  const dying = Object.create(store) as ObjectStore;
  for (const name of ['create', 'createFrom', 'replace', 'put', 'upload'] as const)
    Object.defineProperty(dying, name, { value: guard(store[name].bind(store) as never) });
  return dying;
}

describe('a generation at or below the head', () => {
  it('is checked against the digest that its successor has of it', async () => {
    const first = await publish(store, generation(1, null));
    const second = await publish(store, generation(2, first));
    const third = await publish(store, generation(3, second));
    for (const number of [1, 2, 3])
      expect((await headGeneration(store, 'pets', third, number)).manifest.generation).toBe(number);
    // Somebody who may write manifests, but not the head, puts other adapters in their place.
    const key = streamKeys('pets').manifest(2);
    const text = new TextDecoder().decode((await store.get(key)).bytes);
    await store.put(key, bytes(text.replace(sha256('bank 2'), sha256('evil'))));
    for (const number of [1, 2])
      await expect(headGeneration(store, 'pets', third, number)).rejects.toMatchObject({ name: 'IntegrityError' });
    expect((await headGeneration(store, 'pets', third)).manifest.generation).toBe(3);
    await expect(rollback(store, 'pets', 1, third)).rejects.toMatchObject({ name: 'IntegrityError' });
    const wrong = { ...third, manifestDigest: '0'.repeat(64) };
    await expect(headGeneration(store, 'pets', wrong)).rejects.toThrow(/the head says 000/);
  });

  it('may be one that a rollback left behind', async () => {
    const first = await publish(store, generation(1, null));
    const second = await publish(store, generation(2, first));
    const back = await rollback(store, 'pets', 1, second);
    expect((await headGeneration(store, 'pets', back, 2)).manifest.generation).toBe(2);
  });
});

describe('publish', () => {
  it('makes a generation that can be read back, and moves the head', async () => {
    expect(await readHead(store, 'pets')).toBeNull();
    const head = await publish(store, generation(1, null));
    expect(head).toEqual({ generation: 1, manifestDigest: expect.stringMatching(/^[0-9a-f]{64}$/), epoch: 1 });
    expect(await readHead(store, 'pets')).toEqual(head);
    const read = await readGeneration(store, 'pets', 1, head.manifestDigest);
    expect(read.file('bank.safetensors')).toEqual({
      key: 'streams/pets/generations/1/bank.safetensors',
      size: 6,
      sha256: sha256('bank 1'),
    });
    expect(read.manifest).toMatchObject({ parent: null, lineage: { seed: 0 } });
    expect(() => read.file('toString')).toThrow(/has no file toString/);
  });

  it('refers to what did not change and takes local files', async () => {
    const first = await publish(store, generation(1, null));
    const stored = (await readGeneration(store, 'pets', 1)).file('adapters/dogs/adapter_config.json');
    const local = join(folder, 'bank');
    writeFileSync(local, 'large');
    await publish(store, {
      ...generation(2, first),
      files: [
        { path: 'bank.safetensors', local, size: 5, sha256: sha256('large') },
        { path: 'adapters/dogs/adapter_config.json', stored },
      ],
    });
    const second = await readGeneration(store, 'pets', 2);
    expect(second.file('adapters/dogs/adapter_config.json')).toEqual(stored);
    expect(Buffer.from((await store.get(second.file('bank.safetensors').key)).bytes).toString()).toBe('large');
    expect(second.manifest.parent).toEqual({ generation: 1, manifestDigest: first.manifestDigest });
  });

  it('ends in the same state wherever it was killed, and nobody sees half of it', async () => {
    const calm = await publish(new FolderStore(join(folder, 'calm')), generation(1, null));
    for (const write of [1, 2, 3, 4]) {
      rmSync(join(folder, 'store'), { recursive: true, force: true });
      await expect(publish(dyingAt(write), generation(1, null))).rejects.toThrow('killed');
      expect(await readHead(store, 'pets')).toBeNull();
      expect(await publish(store, generation(1, null))).toEqual(calm);
    }
  });

  it('may be repeated when all is done', async () => {
    const head = await publish(store, generation(1, null));
    expect(await publish(store, generation(1, null))).toEqual(head);
  });

  it('refuses other content under the same number, and a head that moved', async () => {
    const head = await publish(store, generation(1, null));
    await expect(publish(store, generation(1, null, 'other'))).rejects.toMatchObject({ name: 'Conflict' });
    await publish(store, generation(2, head));
    await expect(publish(store, generation(3, head))).rejects.toMatchObject({ name: 'Conflict' });
    expect((await readHead(store, 'pets'))?.generation).toBe(2);
  });

  it('lets one of two publishers win', async () => {
    const head = await publish(store, generation(1, null));
    const both = await Promise.allSettled([publish(store, generation(2, head)), publish(store, generation(3, head))]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect((await readHead(store, 'pets'))?.epoch).toBe(2);
  });
});

describe('readGeneration', () => {
  it('refuses what is missing, damaged, or of another stream', async () => {
    const { manifestDigest } = await publish(store, generation(1, null));
    await expect(readGeneration(store, 'pets', 2)).rejects.toMatchObject({ name: 'NotFound' });
    await expect(readGeneration(store, 'pets', 1, sha256('x'))).rejects.toMatchObject({ name: 'IntegrityError' });
    const { bytes: manifest } = await store.get(streamKeys('pets').manifest(1));
    await store.put(streamKeys('cats').manifest(1), manifest);
    await expect(readGeneration(store, 'cats', 1)).rejects.toThrow(/manifest of pets/);
    const text = Buffer.from(manifest).toString();
    await store.put(
      streamKeys('pets').manifest(1),
      bytes(text.replace('streams/pets/generations/1/bank', '../../etc/passwd/bank')),
    );
    await expect(readGeneration(store, 'pets', 1)).rejects.toThrow(/\.\./);
    await store.put(streamKeys('pets').manifest(1), bytes(text.slice(0, -5)));
    await expect(readGeneration(store, 'pets', 1, manifestDigest)).rejects.toMatchObject({ name: 'IntegrityError' });
    await store.put(streamKeys('pets').head, bytes('{"generation":0}'));
    await expect(readHead(store, 'pets')).rejects.toMatchObject({ name: 'IntegrityError' });
  });
});

describe('nextGeneration', () => {
  it('skips numbers that were begun and never published', async () => {
    expect(await nextGeneration(store, 'pets')).toBe(1);
    await publish(store, generation(1, null));
    for (const number of [9, 10]) await store.put(`streams/pets/generations/${number}/bank.safetensors`, bytes('x'));
    expect(await nextGeneration(store, 'pets')).toBe(11);
  });
});

describe('rollback', () => {
  it('moves the head back with a new epoch, and forward again', async () => {
    const first = await publish(store, generation(1, null));
    const second = await publish(store, generation(2, first));
    const back = await rollback(store, 'pets', 1, second);
    expect(back).toEqual({ ...first, epoch: 3 });
    expect(await rollback(store, 'pets', 2, back)).toEqual({ ...second, epoch: 4 });
  });

  it('refuses a generation that is damaged', async () => {
    const first = await publish(store, generation(1, null));
    const second = await publish(store, generation(2, first));
    await store.put('streams/pets/generations/1/bank.safetensors', bytes('bunk 1'));
    await expect(rollback(store, 'pets', 1, second)).rejects.toMatchObject({ name: 'IntegrityError' });
    expect(await readHead(store, 'pets')).toEqual(second);
  });
});
