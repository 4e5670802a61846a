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
