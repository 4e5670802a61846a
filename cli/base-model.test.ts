import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, it, vi } from 'vitest';
import { isOnHub, localModel } from './base-model.ts';
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
  const target = await reachableModel(`hf://org/tiny@${commit}`, join(root, 'store'));
  expect(target.startsWith(join(root, 'store', 'models'))).toBe(true);
  expect(readFileSync(join(target, 'config.json'), 'utf8')).toBe('{"model_type": "llava"}');
});
