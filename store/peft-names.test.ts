import fc from 'fast-check';
import { expect, it } from 'vitest';
import { linearLayers } from '../learning/model/layers.ts';
import { defineModel } from '../learning/model/registry.ts';
import { MODEL_SHAPES } from '../test/model-shapes.ts';
import type { PeftSettings } from './peft-config.ts';
import { isTargeted, layerFinder, loraName, missingLayers, untrained } from './peft-names.ts';

/** One published model of each family. */
const MODELS = ['llava-1.5-7b', 'smolvlm-256m', 'idefics3-8b', 'qwen2-vl-2b'].map((wanted) => {
  const name = Object.keys(MODEL_SHAPES).find((each) => each.toLowerCase().replace(/-instruct|-hf/g, '') === wanted)!;
  const { layers, frozen } = linearLayers(defineModel(MODEL_SHAPES[name as keyof typeof MODEL_SHAPES]));
  return { name, all: [...layers, ...frozen] };
});

/**
 * What stood before the parts of a model: in transformers before 4.52 and since, in a language model alone, in LLaVA's own
 * code. The first that fits a name of today is replaced by one of its others.
 */
const BEFORE: ReadonlyArray<readonly [today: RegExp, others: readonly string[]]> = [
  [
    /^model\.(language_model|text_model)\.(?=layers\.)/,
    ['model.', '', 'language_model.model.', 'model.language_model.model.', 'language_model.', 'text_model.'],
  ],
  [/^model\.vision_tower\./, ['vision_tower.vision_model.', 'model.vision_tower.vision_model.', 'vision_tower.']],
  [/^model\.vision_model\./, ['vision_model.', 'model.vision_model.']],
  [/^model\.visual\./, ['visual.']],
  [/^model\.(?=multi_modal_projector|connector)/, ['']],
  [/^(?=lm_head)/, ['language_model.', 'model.language_model.']],
];
const WRAPPERS = ['_orig_mod', 'module', '_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_forward_module'];

it.each(MODELS)('finds every layer of $name, and no other, under any name that it had', ({ all }) => {
  const find = layerFinder(all);
  const written = fc
    .record({
      layer: fc.constantFrom(...all),
      before: fc.nat(),
      wraps: fc.array(fc.tuple(fc.constantFrom(...WRAPPERS), fc.nat()), { maxLength: 3 }),
      peft: fc.constantFrom('', 'base_model.model.', 'base_model.model.base_model.model.'),
      adapter: fc.constantFrom('', '.default', '.dogs', '.module'),
      half: fc.constantFrom('A' as const, 'B' as const),
    })
    .map(({ layer, before, wraps, peft, adapter, half }) => {
      const [today, others] = BEFORE.find(([today]) => today.test(layer.name))!;
      const names = [layer.name, ...others.map((other) => layer.name.replace(today, other))];
      const parts = names[before % names.length]!.split('.');
      for (const [wrapper, at] of wraps) parts.splice(at % parts.length, 0, wrapper);
      return { layer, key: `${peft}${parts.join('.')}.lora_${half}${adapter}.weight`, half };
    });
  fc.assert(
    fc.property(written, ({ layer, key, half }) => {
      const name = loraName(key)!;
      expect(name.half).toBe(half);
      expect(find(name.path)).toBe(layer);
    }),
    { numRuns: 400 },
  );
  expect(new Set(all.map(({ name }) => find(name)))).toEqual(new Set(all));
});

it.each([
  'layers.0.mlp.down_proj.lora_A',
  'model.layers.0.mlp.down_proj.lora_A.default.bias',
  'model.layers.0.mlp.down_proj.weight',
  'model.embed_tokens.lora_embedding_A',
  'model.layers.0.self_attn.q_proj.lora_magnitude_vector',
  'layers.0.mlp.down_proj.lora_A.a.b.weight',
  '.lora_A.weight',
])('%s is no half of a pair', (key) => expect(loraName(key)).toBe(null));

it.each([
  'decoder.layers.0.mlp.down_proj',
  'model.vision_tower.layers.0.self_attn.q_proj',
  'encoder.layers.0.self_attn.q_proj',
  'model.layers.99.mlp.down_proj',
  'model.layers.0.mlp.gate_up_proj',
  'model.layers',
  'model',
  '',
])('%s is no layer of LLaVA', (path) => expect(layerFinder(MODELS[0]!.all)(path)).toBe(undefined));

it("knows the projector by LLaVA's own names", () => {
  const find = layerFinder(MODELS[0]!.all);
  expect(find('model.mm_projector.0')?.name).toBe('model.multi_modal_projector.linear_1');
  expect(find('model.mm_projector.2')?.name).toBe('model.multi_modal_projector.linear_2');
});

const settings = (more: object) =>
  ({ targetModules: null, excludeModules: null, layersToTransform: null, ...more }) as unknown as PeftSettings;

it('tells what PEFT would leave out', () => {
  const names = ['model.layers.1.mlp.down_proj', 'model.language_model.layers.1.mlp.down_proj'];
  const targeted = (more: object) => isTargeted(names, settings(more));
  expect(targeted({ targetModules: ['down_proj'] })).toBe(true);
  expect(targeted({ targetModules: ['model.layers.1.mlp.down_proj'] })).toBe(true);
  expect(targeted({ targetModules: ['up_proj', 'own_proj'] })).toBe(false);
  expect(targeted({ targetModules: ['down_proj'], excludeModules: ['mlp.down_proj'] })).toBe(false);
  expect(targeted({ targetModules: ['down_proj'], layersToTransform: [0] })).toBe(false);
  expect(targeted({ targetModules: ['down_proj'], layersToTransform: [0, 1] })).toBe(true);
  expect(targeted({ targetModules: '.*up_proj' })).toBe(null);
  expect(targeted({})).toBe(null);
  expect(targeted({ targetModules: ['down_proj'], excludeModules: '.*vision.*' })).toBe(null);
  expect(isTargeted(['lm_head'], settings({ targetModules: 'all-linear' }))).toBe(false);
});

it('tells of layers that an adapter should have and has not, in the parts that it has', () => {
  const { all } = MODELS[0]!;
  const path = (i: number, name: string) => `model.language_model.layers.${i}.self_attn.${name}`;
  const has = (count: number) => new Map(Array.from({ length: count }, (_, i) => [path(i, 'q_proj'), i]));
  const missing = (count: number, more: object) => missingLayers(has(count), all, settings(more));
  expect(missing(32, { targetModules: ['q_proj'] })).toBe(null);
  expect(missing(30, { targetModules: ['q_proj'] })).toMatch(
    /nothing for model\.language_model\.layers\.30\.self_attn\.q_proj and 1 more, .* as in PEFT/,
  );
  expect(missing(30, { targetModules: ['q_proj'], layersToTransform: [0, 1] })).toBe(null);
  expect(missing(32, { targetModules: ['q_proj', 'v_proj'] })).toMatch(/layers\.0\.self_attn\.v_proj and 31 more/);
  expect(missing(30, { targetModules: '.*q_proj' })).toBe(null);
});

it('tells of an adapter that changes nothing', () => {
  const pair = (...data: number[]) => ({ B: { data: Float32Array.from(data) } });
  expect(
    untrained(
      new Map([
        ['a', pair(0, 0)],
        ['b', pair(0)],
      ]),
    ),
  ).toMatch(/changes nothing/);
  expect(
    untrained(
      new Map([
        ['a', pair(0, 0)],
        ['b', pair(1e-9)],
      ]),
    ),
  ).toBe(null);
});
