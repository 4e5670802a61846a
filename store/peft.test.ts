import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readSafetensors, readTensorMap, writeSafetensors } from '../core/safetensors.ts';
import { PEFT_FILES, readPeft, writePeft } from './peft.ts';

/** Adapters that PEFT 0.21 itself saved. */
const FIXTURES = ['peft-llava-gqa', 'peft-llava-mha', 'peft-qwen2vl', 'peft-smolvlm'].flatMap((model) =>
  ['adapter', 'folded-adapter'].map((kind) => `${model}/${kind}`),
);
const read = (fixture: string, file: string) =>
  new Uint8Array(readFileSync(join(import.meta.dirname, '../test/fixtures', fixture, file)));
const load = (fixture: string) => ({
  config: read(fixture, PEFT_FILES.config),
  weights: read(fixture, PEFT_FILES.weights),
});

describe.each(FIXTURES)('%s', (fixture) => {
  const { config, weights } = load(fixture);
  const theirs = JSON.parse(Buffer.from(config).toString());

  it('is read', () => {
    const adapter = readPeft(config, weights, fixture);
    expect(adapter.rank).toBe(theirs.r);
    expect(adapter.alpha).toBe(theirs.lora_alpha);
    expect(adapter.layers.size * 2).toBe(readSafetensors(weights, fixture).tensors.size);
  });

  it('is written with the keys, shapes and numbers that PEFT wrote', () => {
    const files = new Map(
      writePeft(readPeft(config, weights, fixture), { name: 'base' }).map(({ path, bytes }) => [path, bytes]),
    );
    expect([...files.keys()].sort()).toEqual(Object.values(PEFT_FILES).sort());
    const ours = readSafetensors(files.get(PEFT_FILES.weights)!, 'ours');
    expect(ours.metadata).toEqual({ format: 'pt' });
    expect([...readTensorMap(files.get(PEFT_FILES.weights)!, 'ours')].sort()).toEqual(
      [...readTensorMap(weights, fixture)].sort(),
    );
    const written = JSON.parse(Buffer.from(files.get(PEFT_FILES.config)!).toString());
    for (const name of Object.keys(written)) expect(Object.keys(theirs), 'fields that PEFT knows').toContain(name);
    for (const name of ['peft_type', 'r', 'lora_alpha', 'bias', 'inference_mode', 'use_rslora', 'fan_in_fan_out'])
      expect(written[name], name).toEqual(theirs[name]);
    const names = [...ours.tensors.keys()].filter((name) => name.includes('lora_A'));
    expect(written.target_modules).toEqual(
      names.map((name) => name.slice('base_model.model.'.length, -'.lora_A.weight'.length)).sort(),
    );
  });
});

describe('readPeft', () => {
  const { config, weights } = load('peft-llava-gqa/folded-adapter');
  const withFields = (fields: object) =>
    Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(config).toString()), ...fields }));
  const without = (name: RegExp) =>
    writeSafetensors(new Map([...readTensorMap(weights, 'x')].filter(([key]) => !name.test(key))));

  it.each([
    [{ peft_type: 'IA3' }, /peft_type is "IA3"/],
    [{ use_dora: true }, /use_dora is not supported/],
    [{ bias: 'all' }, /bias/],
    [{ modules_to_save: ['lm_head'] }, /modules_to_save/],
    [{ rank_pattern: { down_proj: 8 } }, /down_proj are no pair of rank 8/],
    [{ rank_pattern: { down_proj: '8' } }, /rank_pattern is no object of positive numbers/],
    [{ alpha_pattern: [1] }, /alpha_pattern is no object/],
    [{ alpha_pattern: { '(a*)*': 1 } }, /alpha_pattern: the key .* repeats a repetition/],
    [{ r: 5 }, /no pair of rank 5/],
    [{ r: 0 }, /r is no rank/],
    [{ lora_alpha: 'x' }, /lora_alpha/],
  ])('refuses %j', (fields, message) => {
    expect(() => readPeft(withFields(fields), weights, 'a')).toThrow(message);
  });

  it('refuses half a pair, foreign tensors and nothing at all', () => {
    expect(() => readPeft(config, without(/layers\.0\.mlp\.down_proj\.lora_B/), 'a')).toThrow(/has no other half/);
    expect(() => readPeft(config, without(/layers\.0\.mlp\.down_proj\.lora_A/), 'a')).toThrow(/has no other half/);
    expect(() => readPeft(config, without(/./), 'a')).toThrow(/holds no adapter/);
    const foreign = writeSafetensors(
      new Map([['base_model.model.head.weight', { shape: [1], data: new Float32Array(1) }]]),
    );
    expect(() => readPeft(config, foreign, 'a')).toThrow(/no tensor of a plain LoRA/);
  });

  it('keeps the scale of rsLoRA and alphas of single layers', () => {
    const fields = { use_rslora: true, lora_alpha: 8, alpha_pattern: { down_proj: 3 } };
    const adapter = readPeft(withFields(fields), weights, 'a');
    expect([adapter.alpha, adapter.useRslora]).toEqual([8, true]);
    for (const [layer, { alpha }] of adapter.layers) expect(alpha).toBe(layer.endsWith('down_proj') ? 3 : undefined);
    const [config, written] = writePeft(adapter, { name: 'base' });
    const { use_rslora, lora_alpha, alpha_pattern } = JSON.parse(Buffer.from(config!.bytes).toString());
    expect({ use_rslora, lora_alpha }).toEqual({ use_rslora: true, lora_alpha: 8 });
    expect(Object.values(alpha_pattern).every((alpha) => alpha === 3)).toBe(true);
    expect(readPeft(config!.bytes, written!.bytes, 'ours')).toEqual(adapter);
  });
});

it('names the base model and its commit as servers compare them', () => {
  const layers = new Map([['model.language_model.layers.0.mlp.up_proj', pairOf(2, 3, 4)]]);
  const base = { name: 'llava-hf/llava-1.5-7b-hf', revision: 'c0ffee' };
  const [config] = writePeft({ rank: 2, alpha: 4, layers }, base);
  expect(JSON.parse(Buffer.from(config!.bytes).toString())).toMatchObject({
    base_model_name_or_path: 'llava-hf/llava-1.5-7b-hf',
    revision: 'c0ffee',
  });
});

/** A pair of zeros. */
const pairOf = (rank: number, inputs: number, outputs: number) => ({
  A: { shape: [rank, inputs], data: new Float32Array(rank * inputs) },
  B: { shape: [outputs, rank], data: new Float32Array(outputs * rank) },
});

describe('readPeft with the layers of a model', () => {
  const { config, weights } = load('peft-llava-gqa/folded-adapter');
  const tensors = readTensorMap(weights, 'x');
  const own = readPeft(config, weights, 'own');
  const layers = [...own.layers].map(([name, { A, B }]) => ({ name, in: A.shape[1]!, out: B.shape[0]! }));
  const tower = { name: 'model.vision_tower.encoder.layers.0.self_attn.q_proj', in: 8, out: 8 };
  const head = { name: 'lm_head', in: 32, out: 64 };
  const model = { layers, others: { layers: [tower, head], why: 'the tower is not computed' } };
  const written = (rename: (key: string) => string, more: Record<string, number[]> = {}) => {
    const all = new Map([...tensors].map(([key, tensor]) => [rename(key), tensor]));
    for (const [key, shape] of Object.entries(more))
      all.set(key, { shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });
    return writeSafetensors(all);
  };
  const pair = (layer: string) => ({ [`${layer}.lora_A.weight`]: [4, 8], [`${layer}.lora_B.weight`]: [8, 4] });
  const withFields = (fields: object) =>
    Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(config).toString()), ...fields }));

  it.each([
    ['today', (key: string) => key],
    ['transformers before 4.52', (key: string) => key.replace('.model.language_model.', '.language_model.model.')],
    ['torch.compile', (key: string) => key.replace('base_model.model.', 'base_model.model._orig_mod.')],
    ['the name of the adapter', (key: string) => key.replace(/\.weight$/, '.default.weight')],
    ['no prefix', (key: string) => key.replace('base_model.model.', '')],
    ['a language model alone', (key: string) => key.replace('.language_model.', '.')],
  ])('finds the layers by the names of %s', (_, rename) => {
    expect(readPeft(config, written(rename), 'a', model)).toEqual(own);
  });

  const first = 'base_model.model.model.language_model.layers.0.mlp.down_proj';
  it.each<[string, Uint8Array, RegExp]>([
    [
      'a deeper model',
      written((key) => key.replace('layers.0.', 'layers.7.')),
      /lora_[AB]\.weight \[\d+,\d+\] belongs to no layer of this model, whose language model has 2 layers/,
    ],
    [
      'another module',
      written((key) => key, pair('base_model.model.model.resampler.proj')),
      /model\.resampler\.proj.* belongs to no layer of this model\. Its layers are .*layers\.N\.mlp\.down_proj/,
    ],
    [
      'the tower',
      written((key) => key, pair(`base_model.model.vision_tower.vision_model.encoder.layers.0.self_attn.q_proj`)),
      /is of model\.vision_tower\.encoder\.layers\.0\.self_attn\.q_proj: the tower is not computed\. Merge it/,
    ],
    [
      'two names of one layer',
      written((key) => key, {
        [`${first.replace('language_model.', '')}.lora_A.weight`]: [...tensors.get(`${first}.lora_A.weight`)!.shape],
      }),
      /are both of model\.language_model\.layers\.0\.mlp\.down_proj\. Remove one/,
    ],
    [
      'two adapters',
      written((key) => key.replace(/(layers\.0.*)\.weight$/, '$1.dogs.weight')),
      /holds several adapters \((dogs, one without a name|one without a name, dogs)\)/,
    ],
    [
      'a saved embedding',
      written((key) => key, { 'base_model.model.model.embed_tokens.weight': [2, 2] }),
      /embed_tokens\.weight \[2,2\] is no tensor of a plain LoRA: it is a weight of the model/,
    ],
    ['DoRA without its flag', written((key) => key, { [`${first}.lora_magnitude_vector`]: [2] }), /it is of DoRA/],
    [
      'what one process of several saved',
      written((key) => key, { [`${first}.lora_A.weight`]: [0] }),
      /lora_A\.weight is empty \(\[0\]\): it was saved by one process of several/,
    ],
    ['a bias', written((key) => key, { [`${first}.lora_B.bias`]: [2] }), /it is a bias/],
    [
      'an embedding',
      written((key) => key, { 'base_model.model.model.embed_tokens.lora_embedding_A': [2, 2] }),
      /it is of an embedding/,
    ],
  ])('refuses %s by name', (_, bytes, message) => {
    expect(() => readPeft(config, bytes, 'a', model)).toThrow(message);
  });

  it('counts the layers of the language model where the tower has more', () => {
    const deep = [5, 9].map((i) => ({ name: `model.vision_tower.encoder.layers.${i}.mlp.fc1`, in: 8, out: 8 }));
    const bytes = written((key) => key.replace('layers.0.', 'layers.7.'));
    expect(() => readPeft(config, bytes, 'a', { layers: [...layers, ...deep] })).toThrow(/language model has 2 layers/);
  });

  it('names a layer of another size, and both shapes', () => {
    const wider = layers.map((layer) => (layer.name.endsWith('down_proj') ? { ...layer, in: layer.in + 1 } : layer));
    expect(() => readPeft(config, weights, 'a', { layers: wider })).toThrow(
      /down_proj\.lora_A\.weight is \[\d+,\d+\], but model\.language_model\.layers\.0\.mlp\.down_proj of this model is \[\d+, \d+\] and needs \[r, \d+\]/,
    );
  });

  it('refuses what PEFT would leave out', () => {
    const fields = { target_modules: ['up_proj', 'gate_proj', 'linear_1', 'linear_2'] };
    expect(() => readPeft(withFields(fields), weights, 'a', model)).toThrow(/down_proj.*does not choose this layer/);
    const exclude = {
      target_modules: ['down_proj', 'up_proj', 'gate_proj', 'linear_1', 'linear_2'],
      exclude_modules: ['linear_2'],
    };
    expect(() => readPeft(withFields(exclude), weights, 'a', model)).toThrow(/linear_2.*does not choose this layer/);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('refuses %d', (number) => {
    const all = new Map(tensors);
    const { shape, data } = all.get(`${first}.lora_B.weight`)!;
    all.set(`${first}.lora_B.weight`, { shape, data: data.map((value, i) => (i === 3 ? number : value)) });
    expect(() => readPeft(config, writeSafetensors(all), 'a', model)).toThrow(/lora_B\.weight holds NaN or infinity/);
  });

  it('takes an adapter whose configuration names layers of another model', () => {
    expect(readPeft(withFields({ target_modules: ['x'] }), weights, 'a', model)).toEqual(own);
  });

  it('refuses an adapter of the head that is tied to one of the embeddings', () => {
    const tied = withFields({ target_modules: '.*', ensure_weight_tying: true });
    const bytes = written((key) => key, {
      'base_model.model.lm_head.lora_A.weight': [4, 32],
      'base_model.model.lm_head.lora_B.weight': [64, 4],
    });
    expect(() => readPeft(tied, bytes, 'a', { layers: [...layers, head] })).toThrow(/ensure_weight_tying/);
    expect(readPeft(tied, weights, 'a', model)).toEqual(own);
  });
});
