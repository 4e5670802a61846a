import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, it, vi } from 'vitest';
import { baseNamed, isOnHub, localModel } from './base-model.ts';
import { reachableModel } from './upload.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lilora-model-'));
  vi.stubEnv('LILORA_CACHE', join(root, 'cache'));
  return () => {
    vi.unstubAllEnvs();
    rmSync(root, { recursive: true });
  };
});

it('a folder of this machine goes before a model of the hub with the same name', async () => {
  expect(await isOnHub(root)).toBe(false);
  expect(await isOnHub('./org/name')).toBe(false);
  expect(await isOnHub('s3://org/name')).toBe(false);
  expect(await isOnHub('org/name')).toBe(true);
  expect(await isOnHub('hf://org/name')).toBe(true);
  // Vitest runs in the root of the project, where there is such a folder.
  expect(await isOnHub('examples/base-model')).toBe(false);
  await expect(localModel('hf://name', { weights: true })).rejects.toThrow(/Write hf:\/\/org\/name/);
});

it('a model of the hub is copied into the store, also into one on this machine', async () => {
  const commit = 'c0ffee00'.repeat(5);
  const folder = join(root, 'cache', 'hub', 'org--tiny', commit);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), '{"model_type": "llava"}');
  expect(await localModel(`org/tiny@${commit}`, { weights: true })).toBe(folder);
  const { model: target, base } = await reachableModel(`hf://org/tiny@${commit}`, join(root, 'store'));
  expect(base).toEqual({ name: 'org/tiny', revision: commit });
  expect(target.startsWith(join(root, 'store', 'models'))).toBe(true);
  expect(readFileSync(join(target, 'config.json'), 'utf8')).toBe('{"model_type": "llava"}');
});

it('a base is called by its id on the hub, by the name of its folder, or as a person says; never by its place in a store', async () => {
  const folder = join(root, 'My model, v2');
  mkdirSync(folder);
  writeFileSync(join(folder, 'config.json'), '{}');
  expect((await reachableModel(folder, `file://${root}/store`)).base).toEqual({ name: 'My-model-v2' });
  expect(await reachableModel('s3://models/llava-1.5-7b-hf', 's3://store')).toEqual({
    model: 's3://models/llava-1.5-7b-hf',
  });
  expect(baseNamed('llava-hf/llava-1.5-7b-hf@abc')).toEqual({ name: 'llava-hf/llava-1.5-7b-hf', revision: 'abc' });
  expect(baseNamed('pets-base')).toEqual({ name: 'pets-base' });
  expect(() => baseNamed('s3://models/x')).toThrow(/write org\/name/);
});
