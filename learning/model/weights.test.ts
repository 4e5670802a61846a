import { readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { sha256 } from '../../core/digest.ts';
import type { HostTensor, TensorMap } from '../../core/host-tensor.ts';
import { type RawTensor, readTensorMap, writeSafetensors } from '../../core/safetensors.ts';
import { expectNear, reference } from '../../test/reference.ts';
import { startTensors } from '../tensors/backend.ts';
import { modelDigest } from './digest.ts';
import { canonicalName, hubName, toHubNames } from './llava/names.ts';
import { noAdapter, type TokenBatch } from './model.ts';
import { loadModel } from './registry.ts';

const ref = reference('llava-mha');
const weights: TensorMap = readTensorMap(
  readFileSync(join(ref.folder, 'model/model.safetensors')),
  'model.safetensors',
);
let folder: string;

beforeAll(async () => {
  await startTensors('cpu');
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'model-'));
  await cp(join(ref.folder, 'model'), folder, { recursive: true });
});

afterEach(async () => {
  expect(tf.memory().numTensors).toBe(0);
  await rm(folder, { recursive: true });
});

const EMBEDDING = 'language_model.model.embed_tokens.weight';
const save = (tensors: TensorMap) => writeFile(join(folder, 'model.safetensors'), writeSafetensors(tensors));
const without = (name: string) => new Map([...weights].filter(([key]) => key !== name));

test.each([
  ['language_model.model.layers.0.mlp.up_proj.weight', 'model.language_model.layers.0.mlp.up_proj.weight'],
  ['language_model.lm_head.weight', 'lm_head.weight'],
  ['vision_tower.vision_model.pre_layrnorm.bias', 'model.vision_tower.pre_layrnorm.bias'],
  ['multi_modal_projector.linear_1.bias', 'model.multi_modal_projector.linear_1.bias'],
])('%s is %s in memory, and back', (hub, canonical) => {
  expect(canonicalName(hub)).toBe(canonical);
  expect(canonicalName(canonical)).toBe(canonical);
  expect(hubName(canonical)).toBe(hub);
});

test('layouts without vision_model, and with it below model', () => {
  expect(canonicalName('vision_tower.encoder.layers.0.mlp.fc1.bias')).toBe(
    'model.vision_tower.encoder.layers.0.mlp.fc1.bias',
  );
  expect(canonicalName('model.vision_tower.vision_model.post_layernorm.bias')).toBe(
    'model.vision_tower.post_layernorm.bias',
  );
});

test('every layout loads to the same model; names for the hub give the file of the hub', async () => {
  const canonical: TensorMap = new Map([...weights].map(([name, tensor]) => [canonicalName(name), tensor]));
  expect([...toHubNames(canonical).keys()].sort()).toEqual([...weights.keys()].sort());
  await save(canonical);
  const model = await loadModel(folder);
  const logits = tf.tidy(() => model.logits(ref.batch('text'), null, noAdapter, Int32Array.of(28)).dataSync());
  expectNear(logits, ref.numbers('text/logits_last'), 2e-4, 'logits');
  model.dispose();
});

describe('weights that do not fit are refused by name', () => {
  const up = 'language_model.model.layers.1.mlp.up_proj.weight';
  const flat = { shape: [960], data: new Float32Array(960) };
  test.each<[string, TensorMap, RegExp]>([
    ['missing', without(up), /model\.language_model\.layers\.1\.mlp\.up_proj\.weight is missing/],
    [
      'unknown',
      new Map([...weights, ['language_model.model.extra', flat]]),
      /language_model\.model\.extra is not part/,
    ],
    ['wrong shape', new Map([...weights, [up, flat]]), /up_proj\.weight is \[960\], but \[40,24\] is needed/],
    ['twice', new Map([...weights, [canonicalName(up), weights.get(up)!]]), /are the same weight/],
    ['unused but missing', without('vision_tower.vision_model.post_layernorm.bias'), /post_layernorm\.bias is missing/],
    ['many', new Map(), /and \d+ more/],
  ])('%s', async (_, tensors, message) => {
    await save(tensors);
    await expect(loadModel(folder)).rejects.toThrow(message);
    await expect(loadModel(folder)).rejects.toMatchObject({ name: 'BadModel' });
  });

  test('old position tables may be there; a tied model may repeat its head, and has its own where it differs', async () => {
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
    const buffers = ['language_model.model.layers.0.self_attn.rotary_emb.inv_freq', 'model.rotary_emb.inv_freq'];
    buffers.push('vision_tower.vision_model.embeddings.position_ids');
    await save(new Map([...weights, ...buffers.map((name) => [name, flat] as const)]));
    (await loadModel(folder)).dispose();
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, tie_word_embeddings: true }));
    const logits = async () => {
      const model = await loadModel(folder);
      const found = tf.tidy(() => model.logits(ref.batch('text'), null, noAdapter, Int32Array.of(28)).dataSync());
      model.dispose();
      return found;
    };
    expectNear(await logits(), ref.numbers('text/logits_last'), 2e-4, 'the head of the file');
    await save(without('language_model.lm_head.weight'));
    const tied = await logits();
    await save(new Map([...weights, ['language_model.lm_head.weight', weights.get(EMBEDDING)!]]));
    expect(await logits()).toEqual(tied);
    expect(tied).not.toEqual(ref.numbers('text/logits_last'));
  });

  test('tied, and the file kept the head instead of the embedding: it serves as both', async () => {
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, tie_word_embeddings: true, extra: [0] }));
    const logits = async (tensors: TensorMap) => {
      await save(tensors);
      const model = await loadModel(folder);
      const found = tf.tidy(() => model.logits(ref.batch('text'), null, noAdapter, Int32Array.of(28)).dataSync());
      model.dispose();
      return found;
    };
    const tied = await logits(without('language_model.lm_head.weight'));
    const renamed = [...without('language_model.lm_head.weight')].map(
      ([name, tensor]) => [name === EMBEDDING ? 'language_model.lm_head.weight' : name, tensor] as const,
    );
    expect(await logits(new Map(renamed))).toEqual(tied);
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, tie_word_embeddings: false }));
    await save(without('language_model.lm_head.weight'));
    await expect(loadModel(folder)).rejects.toThrow(/lm_head.weight is missing.*set "tie_word_embeddings": true/);
  });

  test('weights that were quantized, with or without a word in config.json', async () => {
    const bytes = (dtype: 'F8_E4M3' | 'I8' | 'U8', length: number) => {
      const data = dtype === 'I8' ? new Int8Array(length) : new Uint8Array(length);
      return { dtype, shape: [40, 24], data };
    };
    for (const dtype of ['F8_E4M3', 'I8', 'U8'] as const) {
      const file = writeSafetensors(new Map<string, HostTensor | RawTensor>([...weights, [up, bytes(dtype, 960)]]));
      await writeFile(join(folder, 'model.safetensors'), file);
      await expect(loadModel(folder)).rejects.toThrow(new RegExp(`quantized \\(${up} holds ${dtype}\\)`));
    }
    for (const beside of ['_scale', '_scale_inv', '.absmax', '.quant_state.bitsandbytes__nf4']) {
      await save(new Map([...weights, [`${up}${beside}`, { shape: [1], data: new Float32Array(1) }]]));
      await expect(loadModel(folder)).rejects.toMatchObject({
        name: 'BadModel',
        message: expect.stringMatching(/weights are quantized \(.* beside it\)/),
      });
    }
  });

  test('no folder, no configuration, broken JSON, no weights', async () => {
    await expect(loadModel(join(folder, 'none'))).rejects.toMatchObject({ name: 'BadModel', message: /config\.json/ });
    await rm(join(folder, 'model.safetensors'));
    await expect(loadModel(folder)).rejects.toMatchObject({ name: 'BadModel', message: /model\.safetensors/ });
    await writeFile(join(folder, 'config.json'), '{"model_type": "llava",}');
    await expect(loadModel(folder)).rejects.toMatchObject({ name: 'BadModel', message: /config\.json:1:24/ });
  });
});

test('the digest is what sha256sum would give over names and contents, whatever else lies around', async () => {
  const small = await mkdtemp(join(tmpdir(), 'digest-'));
  await writeFile(join(small, 'b'), 'second');
  await writeFile(join(small, 'a'), 'first');
  const lines = `${sha256('first')}  a\n${sha256('second')}  b\n`;
  expect(await modelDigest(small)).toBe(sha256(lines));
  await mkdir(join(small, 'more'));
  await writeFile(join(small, '.lock'), '');
  expect(await modelDigest(small)).toBe(sha256(lines));
  await rm(small, { recursive: true });
  await expect(modelDigest(small)).rejects.toMatchObject({ name: 'BadModel', message: /ENOENT/ });
});

describe('batches that do not fit are refused', () => {
  const text = ref.batch('text');
  const one = ref.batch('one');
  const change = (batch: TokenBatch, key: 'inputIds' | 'attentionMask', at: number, value: number) => ({
    ...batch,
    [key]: batch[key].map((x, i) => (i === at ? value : x)),
  });
  test.each<[string, TokenBatch, RegExp]>([
    ['unknown token', change(text, 'inputIds', 3, 452), /token 452 in row 0 is not in 0\.\.451/],
    ['negative token', change(text, 'inputIds', 3, -1), /token -1/],
    ['mask of twos', change(text, 'attentionMask', 3, 2), /mask entry 2 in row 0/],
    ['short mask', { ...text, attentionMask: new Int32Array(3) }, /29 ids and 3 mask entries/],
    ['all padding', { ...text, attentionMask: new Int32Array(29) }, /row 0 is all padding/],
    ['image without pixels', one, /16 image tokens, but its images make 0/],
    [
      'too long',
      { rows: 1, length: 513, inputIds: new Int32Array(513).fill(5), attentionMask: new Int32Array(513).fill(1) },
      /row 0 has 513 tokens and the model takes 512/,
    ],
  ])('%s', async (_, batch, message) => {
    const model = await loadModel(folder);
    expect(() => model.logits(batch, null, noAdapter)).toThrow(message);
    model.dispose();
  });

  test('a loss without labels or without a token that carries loss, pixels of another size', async () => {
    const model = await loadModel(folder);
    expect(() => model.loss(text, null, noAdapter)).toThrow(/needs as many labels/);
    expect(() => model.loss({ ...text, labels: new Int32Array(29).fill(-100) }, null, noAdapter)).toThrow(
      /carries loss/,
    );
    expect(() => tf.tidy(() => model.encodeImages(tf.zeros([1, 3, 14, 28])))).toThrow(
      /\[1,3,14,28\], but .*\[n,3,28,28\]/,
    );
    model.dispose();
  });
});

test('generation stops where the context is full', async () => {
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  config.text_config.max_position_embeddings = 32;
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  const model = await loadModel(folder);
  const [row] = model.generate(ref.batch('text'), null, noAdapter, 12);
  const { ids } = ref.json.generate.find((g: { case: string }) => g.case === 'text');
  expect(row!.ids).toEqual(ids[0].slice(0, 3));
  model.dispose();
});
