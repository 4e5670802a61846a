import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MODEL_SHAPES } from '../../test/model-shapes.ts';
import { pairParameters } from '../methods/lora.ts';
import { selectLayers } from '../methods/targets.ts';
import { modelMemory, type StepShape, stepMemory } from './memory.ts';
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

const example = JSON.parse(readFileSync(join(import.meta.dirname, '../../examples/base-model/config.json'), 'utf8'));

/** Steps of the page: a model, its preset `paper` at rank 16, and what differs. */
const STEPS: ReadonlyArray<readonly [name: string, config: object, step: Omit<StepShape, 'trained'>]> = [
  ['example model, 16 × 40', example, { rows: 16, length: 40, answers: 64, stored: false, checkpointing: false }],
  [
    'SmolVLM-256M, 1 × 512',
    MODEL_SHAPES['SmolVLM-256M'],
    { rows: 1, length: 512, answers: 256, stored: false, checkpointing: false },
  ],
  [
    'SmolVLM-256M, 1 × 512, stored, checkpointing',
    MODEL_SHAPES['SmolVLM-256M'],
    { rows: 1, length: 512, answers: 256, stored: true, checkpointing: true },
  ],
  [
    'LLaVA-1.5-7B, 4 × 704, stored, checkpointing',
    MODEL_SHAPES['LLaVA-1.5-7B'],
    { rows: 4, length: 704, answers: 512, stored: true, checkpointing: true },
  ],
];

const stepOf = (config: object, step: Omit<StepShape, 'trained'>) => {
  const definition = defineModel(config);
  const { layers, ...memory } = modelMemory(definition);
  const trained = pairParameters(selectLayers(layers, 'paper'), { rank: 16 });
  return { ...memory, step: stepMemory(definition, { ...step, trained }) };
};

test('a step of the LLaVA-1.5-7B shape by hand', () => {
  const [, config, step] = STEPS.at(-1)!;
  const { activations, logits, moments, widened } = stepOf(config, step).step;
  const tokens = 4 * 704;
  // Inputs of 32 layers; one layer: three states of 4096, q, k and v, 32 heads that look at 704 tokens, four of 11008.
  const layer = 3 * 4096 + 3 * 4096 + 32 * 704 + 4 * 11008;
  expect(activations).toBe(4 * tokens * (32 * 4096 + layer));
  expect(logits).toBe(4 * 3 * 512 * 32064);
  expect(moments).toBe(4 * 7 * 23_412_736);
  expect(widened).toBe(4 * 4096 * 32064);
});

test('docs/models.md has what steps need', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/models.md'), 'utf8');
  for (const [name, config, step] of STEPS) {
    const { weights, stored, tables, cachePerToken, step: parts } = stepOf(config, step);
    const own = (step.stored ? stored : weights) + tables;
    const row = [own, parts.activations, parts.logits, parts.moments, parts.widened];
    const total = row.reduce((a, b) => a + b, 0);
    // Answering keeps no activations, but keys and values of every token.
    const cache = cachePerToken * step.rows * step.length;
    expect(page).toContain(`| ${[name, ...[...row, total, cache].map(fixed)].join(' | ')} |`);
  }
});
