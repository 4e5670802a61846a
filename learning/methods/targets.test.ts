import { expect, it } from 'vitest';
import { selectLayers } from './targets.ts';

const layers = [
  'model.multi_modal_projector.linear_1',
  'model.multi_modal_projector.linear_2',
  ...['self_attn.q_proj', 'self_attn.v_proj', 'mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'].map(
    (end) => `model.language_model.layers.0.${end}`,
  ),
  'model.language_model.layers.1.mlp.down_proj',
].map((name) => ({ name, in: 4, out: 4 }));
const chosen = (targets: string | string[]) =>
  selectLayers(layers, targets).map(({ name }) => name.split('.').slice(-2).join('.'));

it.each([
  [
    'paper',
    [
      'multi_modal_projector.linear_1',
      'multi_modal_projector.linear_2',
      'mlp.gate_proj',
      'mlp.up_proj',
      'mlp.down_proj',
      'mlp.down_proj',
    ],
  ],
  ['language-only', ['mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj', 'mlp.down_proj']],
  [
    'attention+mlp',
    ['self_attn.q_proj', 'self_attn.v_proj', 'mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj', 'mlp.down_proj'],
  ],
  ['q_proj', ['self_attn.q_proj']],
  ['.*\\.layers\\.0\\.(self_attn\\.[qk]_proj|mlp\\.up_proj)', ['self_attn.q_proj', 'mlp.up_proj']],
])('the targets %s', (targets, expected) => {
  expect(chosen(targets)).toEqual(expected);
});

it('matches whole parts of a path only, as PEFT does', () => {
  expect(chosen(['mlp.down_proj', 'model.multi_modal_projector.linear_1'])).toEqual([
    'multi_modal_projector.linear_1',
    'mlp.down_proj',
    'mlp.down_proj',
  ]);
  expect(() => selectLayers(layers, ['proj'])).toThrow(/matches the target "proj"/);
});

it('refuses a name that matches nothing, also among others that do', () => {
  expect(() => selectLayers(layers, ['down_proj', 'dwon_proj'])).toThrow(/matches the target "dwon_proj".*down_proj/);
  expect(() => selectLayers(layers, [])).toThrow(/matches the target \[\]/);
  expect(() => selectLayers([], 'paper')).toThrow(/matches the target "paper"/);
});

it('takes every layer as all-linear, and matches an expression with whole paths only', () => {
  expect(selectLayers(layers, 'all-linear')).toEqual(layers);
  expect(chosen('model\\.multi_modal_projector\\.linear_[12]')).toHaveLength(2);
  expect(() => selectLayers(layers, 'layers\\.0\\..*')).toThrow(/matches the target/);
});

it.each([
  ['(', /no regular expression/],
  ['(.*)*', /repeats a repetition/],
  ['.*'.repeat(200), /more than 300 characters/],
])('refuses the expression %s', (text, message) => {
  expect(() => selectLayers(layers, text)).toThrow(message);
});
