import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { sizeOf } from '../../../core/host-tensor.ts';
import { MODEL_SHAPES } from '../../../test/model-shapes.ts';
import { reference } from '../../../test/reference.ts';
import { noAdapter } from '../model.ts';
import { buildModel, defineModel } from '../registry.ts';
import { type LlavaConfig, llavaConfig } from './config.ts';

const gqa = JSON.parse(readFileSync(`${reference('llava-gqa').folder}/model/config.json`, 'utf8'));
const read = (json: unknown, generation?: unknown) => llavaConfig(json, generation, 'config.json');

test('a window that the attention of LLaMA has not is refused; one as long as the context changes nothing', () => {
  const windowed = (sliding_window: number | null) =>
    read({ ...gqa, text_config: { ...gqa.text_config, sliding_window } });
  expect(() => windowed(8)).toThrow(/text_config: sliding_window 8 is not computed for a LLaMA/);
  for (const harmless of [null, 1_000_000]) expect(windowed(harmless).decoder.layers).toBeGreaterThan(0);
});

describe('LLaVA-1.5-7B', () => {
  const definition = defineModel(MODEL_SHAPES['LLaVA-1.5-7B']);
  const config = definition.config as LlavaConfig;

  test('has the sizes of the published model', () => {
    expect(config).toMatchObject({ tokensPerImage: 576, imageToken: 32000, padToken: 32001, endTokens: [2] });
    expect(config.decoder).toMatchObject({
      width: 4096,
      inner: 11008,
      layers: 32,
      kvHeads: 32,
      headSize: 128,
      tied: false,
    });
    expect(config.decoder.rope).toEqual({ theta: 10000, kind: 'default' });
    expect(config.vision).toMatchObject({ featureLayers: 23, classToken: false, activation: 'quick_gelu', eps: 1e-5 });
    const parameters = [...definition.shapes.values()].reduce((sum, shape) => sum + sizeOf(shape), 0);
    expect(parameters).toBe(7_063_427_072);
  });

  test('has the adapted layers of the LiLoRA paper: 98 of them, 187,301,888 parameters at rank 128', () => {
    const model = buildModel(definition, () => {
      throw new Error('no weight is needed to list layers');
    });
    const layers = model.layers.filter(({ name }) => /\.mlp\.|projector/.test(name));
    expect(layers.length).toBe(98);
    expect(layers.reduce((sum, layer) => sum + 128 * (layer.in + layer.out), 0)).toBe(187_301_888);
    expect(model.layers.length).toBe(2 + 32 * 7);
    expect(noAdapter.length).toBe(3);
  });

  test('without any detail is the same tower, by the defaults of transformers', () => {
    expect(read({ model_type: 'llava' }).vision).toEqual(config.vision);
  });
});

test('both ways to write RoPE, feature layers, end and padding tokens', () => {
  expect(read(gqa).decoder.rope).toEqual({ theta: 50000, kind: 'linear', factor: 2 });
  const { rope_parameters: _, ...old } = gqa.text_config;
  for (const rope_scaling of [
    { type: 'linear', factor: 2 },
    { rope_type: 'linear', factor: 2 },
  ]) {
    expect(read({ ...gqa, text_config: { ...old, rope_theta: 50000, rope_scaling } })).toEqual(read(gqa));
  }
  expect(read({ ...gqa, text_config: old }).decoder.rope).toEqual({ theta: 10000, kind: 'default' });
  expect(read({ ...gqa, vision_feature_layer: 2 }).vision).toEqual(read(gqa).vision);
  expect(read({ ...gqa, vision_feature_layer: -1 }).vision.featureLayers).toBe(3);
  expect(read(gqa)).toMatchObject({ endTokens: [1], padToken: 3, tokensPerImage: 26 });
  expect(read(gqa, { eos_token_id: [5, 6], pad_token_id: 7 })).toMatchObject({ endTokens: [5, 6], padToken: 7 });
  expect(read({ ...gqa, tie_word_embeddings: undefined }).decoder.tied).toBe(true);
});

describe('what is not computed is refused by name', () => {
  const { text_config: text, vision_config: vision } = gqa;
  test.each([
    [{ text_config: { ...text, model_type: 'mistral' } }, /text_config\.model_type is "mistral"/],
    [{ text_config: { ...text, hidden_act: 'gelu' } }, /text_config\.hidden_act is "gelu"/],
    [{ text_config: { ...text, rope_parameters: { rope_type: 'longrope', factor: 4 } } }, /RoPE type "longrope"/],
    [{ text_config: { ...text, rope_parameters: { rope_type: 'linear' } } }, /without a factor/],
    [{ text_config: { ...text, partial_rotary_factor: 0.5 } }, /partial_rotary_factor is 0\.5/],
    [{ text_config: { ...text, num_key_value_heads: 3 } }, /multiple of the key-value heads/],
    [{ text_config: { ...text, num_hidden_layers: 1e9 } }, /num_hidden_layers is 1000000000/],
    [{ text_config: { ...text, rms_norm_eps: '1e-5' } }, /rms_norm_eps is "1e-5"/],
    [{ text_config: 5 }, /text_config is 5/],
    [{ text_config: { ...text, rope_parameters: { full_attention: {} } } }, /rope_parameters.full_attention is/],
    [{ vision_config: { ...vision, model_type: 'siglip_vision_model' } }, /vision_config\.model_type is "siglip/],
    [{ vision_config: { ...vision, hidden_act: 'mish' } }, /vision_config\.hidden_act is "mish"/],
    [{ vision_config: { ...vision, image_size: 31 } }, /multiple of patch_size/],
    [{ vision_feature_layer: [-2, -5] }, /vision_feature_layer is \[-2,-5\]/],
    [{ vision_feature_layer: -5 }, /vision_feature_layer -5 is out of range/],
    [{ vision_feature_select_strategy: 'cls' }, /select_strategy is "cls"/],
    [{ projector_hidden_act: 'swish2' }, /projector_hidden_act is "swish2"/],
  ])('%j', (change, message) => {
    expect(() => read({ ...gqa, ...change })).toThrow(message);
    expect(() => read({ ...gqa, ...change })).toThrow(expect.objectContaining({ name: 'BadModel' }));
  });

  test('another family', () => {
    expect(() => defineModel({ model_type: 'llava_next' })).toThrow(
      /model_type is "llava_next"\. Supported: llava \(LLaVA-1\.5\), idefics3 .*, smolvlm .*, qwen2_vl/,
    );
    expect(() => defineModel({ architectures: ['X'] })).toThrow(/model_type is absent \(X\)\. Supported/);
    expect(() => defineModel(null)).toThrow(/no JSON object/);
    expect(() => defineModel([])).toThrow(/no JSON object/);
  });
});
