import { expect, it } from 'vitest';
import { defineModel } from '../../learning/model/registry.ts';
import { MODEL_SHAPES } from '../../test/model-shapes.ts';
import { featuresLimit, featuresMemory, threadsWanted, weightsWanted } from './settings.ts';

const GIB = 2 ** 30;

it('takes numbers from the environment, and says what is wrong with one', () => {
  expect(threadsWanted({})).toBeUndefined();
  expect(threadsWanted({ LILORA_THREADS: '2' })).toBe(2);
  expect(() => threadsWanted({ LILORA_THREADS: '0' })).toThrow(/LILORA_THREADS is "0"/);
  expect(featuresLimit({})).toBe(4 * GIB);
  expect(featuresLimit({ LILORA_FEATURES_GIB: '0' })).toBe(0);
  expect(featuresMemory({ LILORA_FEATURES_MEMORY_GIB: '2' })).toBe(2 * 2 ** 30);
  expect(featuresMemory({}, 1000)).toBe(250);
  expect(() => featuresLimit({ LILORA_FEATURES_GIB: 'much' })).toThrow(/LILORA_FEATURES_GIB is "much"/);
});

it('keeps weights as they are stored where float32 would take most of the memory', () => {
  const large = defineModel(MODEL_SHAPES['LLaVA-1.5-7B']);
  const small = defineModel(MODEL_SHAPES['SmolVLM-256M']);
  expect(weightsWanted(large, {}, 24 * GIB)).toBe('stored');
  expect(weightsWanted(large, {}, 64 * GIB)).toBe('float32');
  expect(weightsWanted(small, {}, 4 * GIB)).toBe('float32');
  expect(weightsWanted(small, { LILORA_WEIGHTS: 'stored' }, 64 * GIB)).toBe('stored');
  expect(() => weightsWanted(small, { LILORA_WEIGHTS: 'int8' })).toThrow(/Choose from/);
});
