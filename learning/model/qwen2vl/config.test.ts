import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { sizeOf } from '../../../core/host-tensor.ts';
import { MODEL_SHAPES } from '../../../test/model-shapes.ts';
import { reference } from '../../../test/reference.ts';
import { selectLayers } from '../../methods/targets.ts';
import { buildModel, defineModel } from '../registry.ts';
import { type Qwen2vlConfig, qwen2vlConfig } from './config.ts';
import { qwen2vl } from './index.ts';

const small = JSON.parse(readFileSync(`${reference('qwen2vl').folder}/model/config.json`, 'utf8'));
const read = (json: unknown, generation?: unknown) => qwen2vlConfig(json, generation, 'config.json');

describe('the published models', () => {
  test.each([
    ['Qwen2-VL-2B', 2_208_985_600],
    ['Qwen2-VL-7B', 8_291_375_616],
  ] as const)('%s has as many parameters as published', (name, parameters) => {
    const { shapes } = defineModel(MODEL_SHAPES[name]);
    expect([...shapes.values()].reduce((sum, shape) => sum + sizeOf(shape), 0)).toBe(parameters);
    expect(shapes.get('model.visual.patch_embed.proj.weight')).toEqual([1280, 3, 2, 14, 14]);
  });

  test('adapted layers: the decoder, and the merger', () => {
    const model = buildModel(defineModel(MODEL_SHAPES['Qwen2-VL-7B']), () => {
      throw new Error('no weight is needed to list layers');
    });
    const paper = selectLayers(model.layers, 'paper');
    expect(paper).toHaveLength(2 + 28 * 3);
    expect(paper.slice(0, 2)).toEqual([
      { name: 'model.visual.merger.mlp.0', in: 5120, out: 5120 },
      { name: 'model.visual.merger.mlp.2', in: 5120, out: 3584 },
    ]);
    expect(selectLayers(model.layers, 'language-only')).toHaveLength(28 * 3);
    expect(selectLayers(model.layers, 'attention+mlp')).toHaveLength(28 * 7);
  });
});

test('the fields of the text model at the top or apart; names of every layout', () => {
  const { text_config: text, ...rest } = small;
  const { model_type: _, rope_parameters, ...fields } = text;
  const flat = { ...rest, ...fields, rope_theta: 1e6, rope_scaling: { type: 'mrope', mrope_section: [2, 1, 1] } };
  expect(rope_parameters.rope_theta).toBe(1e6);
  expect(read(flat)).toEqual(read(small));
  expect(read(small)).toMatchObject({ imageToken: 356, endTokens: [348], decoder: { ropeSections: [2, 1, 1] } });
  for (const [name, canonical] of [
    ['visual.merger.ln_q.bias', 'model.visual.merger.ln_q.bias'],
    ['model.visual.merger.ln_q.bias', 'model.visual.merger.ln_q.bias'],
    ['model.layers.0.mlp.up_proj.weight', 'model.language_model.layers.0.mlp.up_proj.weight'],
    ['model.language_model.norm.weight', 'model.language_model.norm.weight'],
    ['lm_head.weight', 'lm_head.weight'],
  ])
    expect(qwen2vl.canonicalName(name!)).toBe(canonical);
});

test('windows of attention: off, from a layer on, or by the list of layers', () => {
  const windows = (text: object) =>
    (read({ ...small, text_config: { ...small.text_config, layer_types: null, ...text } }) as Qwen2vlConfig).decoder
      .windows;
  expect(windows({})).toEqual([null, null]);
  expect(windows({ use_sliding_window: false, sliding_window: 8, max_window_layers: 0 })).toEqual([null, null]);
  expect(windows({ use_sliding_window: true, sliding_window: 8, max_window_layers: 1 })).toEqual([null, 8]);
  const types = ['sliding_attention', 'full_attention'];
  expect(windows({ use_sliding_window: true, sliding_window: 8, layer_types: types })).toEqual([8, null]);
});

test.each([
  [
    { text_config: { ...small.text_config, model_type: 'qwen2_5_vl_text' } },
    /text_config\.model_type is "qwen2_5_vl_text"/,
  ],
  [
    { text_config: { ...small.text_config, layer_types: ['sliding_attention', 'full_attention'] } },
    /sliding ones need/,
  ],
  [{ text_config: { ...small.text_config, layer_types: ['full_attention'] } }, /must name every layer/],
  [{ text_config: { ...small.text_config, layer_types: ['chunked', 'chunked'] } }, /layer_types\.0 is "chunked"/],
  [{ text_config: { ...small.text_config, head_dim: 16 } }, /mrope_section|head_dim/],
  [{ text_config: { ...small.text_config, rope_parameters: { rope_type: 'longrope' } } }, /RoPE type "longrope"/],
  [{ text_config: { ...small.text_config, rope_parameters: { mrope_section: [1, 1, 1] } } }, /must add up to half/],
  [{ vision_config: { ...small.vision_config, hidden_size: 25 } }, /hidden_size 25 is not that of the text model, 24/],
  [{ vision_config: { ...small.vision_config, rope_parameters: { rope_type: 'linear' } } }, /rope_type is "linear"/],
  [{ vision_config: { ...small.vision_config, in_chans: 1 } }, /in_chans is 1/],
])('refused by name: %j', (change, message) => {
  expect(() => read({ ...small, ...change })).toThrow(message);
  expect(() => read({ ...small, ...change })).toThrow(expect.objectContaining({ name: 'BadModel' }));
});
