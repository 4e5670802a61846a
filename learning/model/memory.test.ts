import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MODEL_SHAPES } from '../../test/model-shapes.ts';
import { pairParameters } from '../methods/lora.ts';
import { selectLayers } from '../methods/targets.ts';
import { modelMemory } from './memory.ts';
import { defineModel } from './registry.ts';

const GIB = 2 ** 30;
const fixed = (bytes: number) => (bytes / GIB).toFixed(2);
const whole = (count: number) => count.toLocaleString('en');

test('LLaVA-1.5-7B by hand: the last tower layer and the last norm are not loaded', () => {
  const memory = modelMemory(defineModel(MODEL_SHAPES['LLaVA-1.5-7B']));
  // Four square matrices and the MLP of one tower layer with biases and two norms, and the norm after all layers.
  const layer = 4 * (1024 * 1024 + 1024) + 2 * 1024 * 4096 + 4096 + 1024 + 4 * 1024;
  expect(memory.weights).toBe(4 * (7_063_427_072 - layer - 2 * 1024));
  expect(memory.loading).toBe(6 * 32064 * 4096);
  expect(memory.tables).toBe(4 * 2 * 4096 * 128);
  expect(memory.cachePerToken).toBe(4 * 2 * 32 * 4096);
});

test('docs/models.md has these numbers for the published shapes', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/models.md'), 'utf8');
  for (const [name, config] of Object.entries(MODEL_SHAPES)) {
    const { layers, ...memory } = modelMemory(defineModel(config));
    const adapter = pairParameters(selectLayers(layers, 'paper'), { rank: 16 });
    const row = [
      name,
      whole(memory.parameters),
      fixed(memory.weights),
      fixed(memory.stored),
      fixed(memory.loading),
      fixed(memory.tables),
      whole(memory.cachePerToken / 1024),
      whole(selectLayers(layers, 'paper').length),
      whole(adapter),
    ];
    expect(page).toContain(`| ${row.join(' | ')} |`);
  }
});
