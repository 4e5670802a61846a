import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sha256 } from './digest.ts';
import { openModelTensors } from './model-tensors.ts';
import { readSafetensors, writeSafetensors } from './safetensors.ts';

const SHARDS = fileURLToPath(new URL('../test/fixtures/safetensors-shards', import.meta.url));
const SECOND = 'model-00002-of-00003.safetensors';
const INDEX = 'model.safetensors.index.json';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'model-'));
  await cp(SHARDS, folder, { recursive: true });
});
afterEach(() => rm(folder, { recursive: true }));

const editIndex = async (edit: (map: Record<string, unknown>) => void) => {
  const index = JSON.parse(await readFile(join(folder, INDEX), 'utf8'));
  edit(index.weight_map);
  await writeFile(join(folder, INDEX), JSON.stringify(index));
};
const refused = (message: RegExp) =>
  expect(openModelTensors(folder)).rejects.toMatchObject({ name: 'BadModel', message: expect.stringMatching(message) });

test('BF16 shards written by the reference: names and widened numbers as Python reads them', async () => {
  const model = await openModelTensors(SHARDS);
  const parts: Uint8Array[] = [];
  for (const name of model.names().sort()) {
    expect(model.info(name).dtype).toBe('BF16');
    parts.push(Buffer.from(name), Buffer.from((await model.readFloat(name)).buffer));
  }
  expect(model.names()).toHaveLength(87);
  expect(sha256(Buffer.concat(parts))).toBe('10b7b1d100c4a523d98216e2adc7db1339708e5d95528478ba05199c61ec629c');
  expect(() => model.info('lm_head.weight')).toThrow(/no tensor "lm_head.weight"/);
  await model.close();
});

test('shards without an index are read where they are one whole series', async () => {
  await rm(join(folder, INDEX));
  const [model, whole] = [await openModelTensors(folder), await openModelTensors(SHARDS)];
  expect(model.names().sort()).toEqual(whole.names().sort());
  await Promise.all([model.close(), whole.close()]);
  await cp(join(folder, SECOND), join(folder, 'model-00001-of-00003.safetensors'));
  await refused(/is in model-00002-of-00003.safetensors and in .*model-00001.*no model.safetensors.index.json/);
  await cp(join(folder, SECOND), join(folder, 'model-00002-of-00004.safetensors'));
  await refused(/shards of 2 series/);
  await rm(join(folder, 'model-00002-of-00004.safetensors'));
  await rm(join(folder, SECOND));
  await refused(/1 of 3 shards are missing, first model-00002-of-00003.safetensors, and so is/);
});

test('a single file', async () => {
  await rm(join(folder, INDEX));
  await rename(join(folder, SECOND), join(folder, 'model.safetensors'));
  const model = await openModelTensors(folder);
  expect(model.names()).toHaveLength(29);
  expect(model.has('nothing')).toBe(false);
  const name = model.names()[0]!;
  expect((await model.readRaw(name)).data).toHaveLength((await model.readFloat(name)).length);
  await model.close();
});

describe('refused as BadModel', () => {
  test.each([
    '../model.safetensors',
    '/etc/model.safetensors',
    'a/b.safetensors',
    'a\\b.safetensors',
    'C:b.safetensors',
    '.safetensors',
    'x.bin',
    'https://x.safetensors',
    'x.safetensors\u0000',
    5,
    null,
  ])('a shard named %s', async (shard) => {
    await editIndex((map) => {
      map['language_model.model.embed_tokens.weight'] = shard;
    });
    await refused(/embed_tokens.weight" is placed in .*; only \*.safetensors files of the same folder/);
  });

  test('an index without a weight map, or with broken JSON', async () => {
    for (const index of [{}, { weight_map: [] }, [], null]) {
      await writeFile(join(folder, INDEX), JSON.stringify(index));
      await refused(/no weight_map object/);
    }
    await writeFile(join(folder, INDEX), '{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}');
    await refused(/the key "a" stands twice/);
  });

  test('a shard that is missing, and a shard that is damaged', async () => {
    await rename(join(folder, SECOND), join(folder, 'aside'));
    await refused(/1 of 3 files of model.safetensors.index.json are missing, first model-00002.*hf download/);
    await writeFile(join(folder, SECOND), (await readFile(join(folder, 'aside'))).subarray(0, -1));
    await refused(/00002-of-00003.safetensors: not a sound safetensors file: it is cut off/);
  });

  test('a tensor that no shard holds', async () => {
    await editIndex((map) => {
      map['ghost.weight'] = SECOND;
    });
    await refused(/1 tensors of .* are missing, first "ghost.weight" in model-00002/);
  });

  test('a tensor that the index does not list, or lists elsewhere', async () => {
    const name = [...readSafetensors(await readFile(join(folder, SECOND)), SECOND).tensors.keys()][0]!;
    await editIndex((map) => {
      map[name] = 'model-00001-of-00003.safetensors';
    });
    await refused(/holds .*, but model.safetensors.index.json places it in model-00001/);
    await editIndex((map) => {
      delete map[name];
    });
    await refused(/but model.safetensors.index.json does not list it/);
  });

  test('pickle files only', async () => {
    const empty = await mkdtemp(join(tmpdir(), 'model-'));
    await writeFile(join(empty, 'pytorch_model.bin'), 'x');
    await expect(openModelTensors(empty)).rejects.toMatchObject({
      name: 'BadModel',
      message: expect.stringMatching(/pickled \(pytorch_model\.bin\).* never read.*python -c "from transformers/),
    });
    await writeFile(join(empty, 'model.safetensors'), writeSafetensors(new Map()).subarray(0, 5));
    await expect(openModelTensors(empty)).rejects.toMatchObject({
      name: 'BadModel',
      message: expect.stringMatching(/too few/),
    });
    await rm(empty, { recursive: true });
  });
});
