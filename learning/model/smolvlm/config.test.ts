import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { sizeOf } from '../../../core/host-tensor.ts';
import { MODEL_SHAPES } from '../../../test/model-shapes.ts';
import { reference } from '../../../test/reference.ts';
import { selectLayers } from '../../methods/targets.ts';
import { buildModel, defineModel } from '../registry.ts';
import { type SmolvlmConfig, smolvlmConfig } from './config.ts';
import { positionIds } from './vision.ts';

const small = JSON.parse(readFileSync(`${reference('smolvlm').folder}/model/config.json`, 'utf8'));
const read = (json: unknown, generation?: unknown) => smolvlmConfig(json, generation, 'config.json');

describe('SmolVLM-256M', () => {
  const definition = defineModel(MODEL_SHAPES['SmolVLM-256M'], { eos_token_id: 49279, pad_token_id: 2 });

  test('has the 256,484,928 parameters in 471 tensors of the published model', () => {
    expect(definition.shapes.size).toBe(471);
    expect([...definition.shapes.values()].reduce((sum, shape) => sum + sizeOf(shape), 0)).toBe(256_484_928);
    expect(definition.shapes.get('model.connector.modality_projection.proj.weight')).toEqual([576, 12288]);
    expect(definition.shapes.get('model.vision_model.embeddings.position_embedding.weight')).toEqual([1024, 768]);
    expect(definition.config).toMatchObject({ endTokens: [49279], padToken: 2, imageToken: 49190, shuffle: 4 });
  });

  test('adapted layers: the decoder, and the projection of the connector', () => {
    const model = buildModel(definition, () => {
      throw new Error('no weight is needed to list layers');
    });
    expect(selectLayers(model.layers, 'paper')).toHaveLength(1 + 30 * 3);
    expect(selectLayers(model.layers, 'language-only')).toHaveLength(30 * 3);
    expect(selectLayers(model.layers, 'attention+mlp')).toHaveLength(30 * 7);
    expect(model.layers[0]).toEqual({ name: 'model.connector.modality_projection.proj', in: 12288, out: 576 });
  });
});

test('both names of the architecture; sides as a number or a pair; what is absent is as in transformers', () => {
  expect(read({ ...small, model_type: 'idefics3' })).toEqual(read(small));
  const pairs = { ...small.vision_config, image_size: [18, 18], patch_size: [3, 3] };
  expect(read({ ...small, vision_config: pairs })).toEqual(read(small));
  expect(read({ model_type: 'smolvlm', vision_config: { image_size: 384, patch_size: 12 } })).toMatchObject({
    shuffle: 2,
    imageToken: 128257,
    decoder: { width: 4096, eps: 1e-5, tied: false },
    vision: { width: 1152, inner: 3072, layers: 12, heads: 16, eps: 1e-6 },
  });
  expect((read({ ...small, text_config: { hidden_size: 4096 } }) as SmolvlmConfig).decoder.eps).toBe(1e-6);
});

test.each([
  [{ text_config: { ...small.text_config, model_type: 'mistral' } }, /text_config\.model_type is "mistral"/],
  [{ text_config: { ...small.text_config, qk_layer_norms: true } }, /text_config\.qk_layer_norms is true/],
  [{ text_config: { ...small.text_config, use_resampler: true } }, /text_config\.use_resampler is true/],
  [
    { vision_config: { ...small.vision_config, model_type: 'clip_vision_model' } },
    /vision_config\.model_type is "clip/,
  ],
  [{ vision_config: { ...small.vision_config, image_size: [18, 36] } }, /vision_config\.image_size is \[18,36\]/],
  [{ scale_factor: 4 }, /multiple of scale_factor/],
])('refused by name: %j', (change, message) => {
  expect(() => read({ ...small, ...change })).toThrow(message);
  expect(() => read({ ...small, ...change })).toThrow(expect.objectContaining({ name: 'BadModel' }));
});

test('rows of the position table are those that PyTorch finds, also where rounding shifts them', () => {
  // torch.bucketize of k · (1 / n) into torch.arange(1 / n, 1, 1 / n), for the first row of patches.
  const shifted: Record<number, number[]> = {
    19: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 13, 14, 15, 16, 17, 18],
    25: [0, 1, 2, 3, 4, 4, 6, 7, 8, 8, 9, 10, 11, 12, 14, 14, 16, 17, 17, 19, 19, 21, 22, 22, 24],
    31: [
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 16, 18, 19, 20, 20, 22, 23, 24, 24, 26, 27, 28, 28, 30,
    ],
  };
  for (const side of [1, 2, 14, 16, 24, 26, 27, 28, 32])
    expect([...positionIds(side, side).slice(0, side)]).toEqual([...Array(side).keys()]);
  for (const [side, buckets] of Object.entries(shifted))
    expect([...positionIds(Number(side), Number(side)).slice(0, Number(side))]).toEqual(buckets);
  // Two patches of a side of six: the table's rows 0 and 3.
  expect([...positionIds(2, 6)]).toEqual([0, 3, 18, 21]);
});
