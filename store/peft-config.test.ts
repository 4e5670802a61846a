import { expect, it } from 'vitest';
import { readPeftConfig } from './peft-config.ts';

/** As PEFT 0.21 saves it. */
const PLAIN = {
  alora_invocation_tokens: null,
  alpha_pattern: {},
  arrow_config: null,
  auto_mapping: { base_model_class: 'LlavaForConditionalGeneration', unsloth_fixed: true },
  base_model_name_or_path: 'llava-hf/llava-1.5-7b-hf',
  bias: 'none',
  corda_config: null,
  ensure_weight_tying: false,
  eva_config: null,
  exclude_modules: null,
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  kasa_config: null,
  layer_replication: null,
  layers_pattern: null,
  layers_to_transform: null,
  loftq_config: {},
  lora_alpha: 8,
  lora_bias: false,
  lora_dropout: 0,
  lora_ga_config: null,
  megatron_config: null,
  megatron_core: 'megatron.core',
  modules_to_save: null,
  monteclora_config: null,
  peft_type: 'LORA',
  peft_version: '0.21.2',
  qalora_group_size: 16,
  r: 4,
  rank_pattern: {},
  revision: null,
  target_modules: ['down_proj'],
  target_parameters: null,
  task_type: null,
  trainable_token_indices: null,
  use_bdlora: null,
  use_dora: false,
  use_qalora: false,
  use_rslora: false,
  velora_config: null,
};
const read = (fields: object) => readPeftConfig(Buffer.from(JSON.stringify({ ...PLAIN, ...fields })), 'a.json');

it.each([
  {},
  { modules_to_save: [] },
  { fan_in_fan_out: true },
  { lora_dropout: 0.1, inference_mode: false, task_type: 'CAUSAL_LM', revision: 'main' },
  { init_lora_weights: false },
  { init_lora_weights: null },
  { init_lora_weights: 'gaussian' },
  { init_lora_weights: 'Gaussian' },
  { init_lora_weights: 'orthogonal' },
  { init_lora_weights: 'mica' },
  { init_lora_weights: 'eva', eva_config: { rho: 2, tau: 0.99, whiten: false } },
  { eva_config: { rho: 2 }, corda_config: { corda_method: 'ipm' }, lora_ga_config: { scale: 'stable' } },
  { loftq_config: { loftq_bits: 4 } },
  { trainable_token_indices: [], target_parameters: [], layer_replication: [], alora_invocation_tokens: [] },
  { velora_config: { num_groups: 64, scale: 1, init_type: 'random' } },
  { rank_pattern: null, alpha_pattern: null, bias: null, use_rslora: null },
  { exclude_modules: ['lm_head'], layers_to_transform: [0, 1], layers_pattern: 'layers' },
  { ensure_weight_tying: true },
  { lora_dtype: 'float32', lorap_emb_lr: 1e-6, lorap_lr_ratio: 16, model_key_mapping: null, swift_type: 'LORA' },
  { merge_weights: true, enable_lora: null },
  { of_tomorrow: null, another: false, third: '', fourth: [], fifth: {} },
])('takes %j', (fields) => {
  expect(read(fields)).toMatchObject({ rank: 4, alpha: 8, useRslora: false });
});

it.each([
  [{ peft_type: 'LOHA' }, /peft_type is "LOHA"; only LORA is read/],
  [{ peft_type: 'VERA' }, /peft_type is "VERA".*Merge it/],
  [{ peft_type: 'PREFIX_TUNING' }, /peft_type is "PREFIX_TUNING".*Train a plain LoRA/],
  [{ peft_type: undefined }, /names no peft_type/],
  [{ peft_type: undefined, model_type: 'llava' }, /configuration of a whole model/],
  [{ use_dora: true }, /use_dora is not supported \(true\): DoRA.*merge_and_unload/],
  [{ bias: 'lora_only' }, /bias is "lora_only"/],
  [{ lora_bias: true }, /lora_bias is not supported/],
  [{ modules_to_save: ['multi_modal_projector'] }, /modules_to_save is not supported \(\["multi_modal_projector"\]\)/],
  [{ trainable_token_indices: [5] }, /trainable_token_indices/],
  [{ trainable_token_indices: { embed_tokens: [5] } }, /trainable_token_indices/],
  [{ target_parameters: ['experts.down_proj'] }, /target_parameters/],
  [{ layer_replication: [[0, 2]] }, /layer_replication/],
  [{ use_qalora: true }, /use_qalora/],
  [{ use_bdlora: { nblocks: 2 } }, /use_bdlora/],
  [{ kasa_config: { beta: 1 } }, /kasa_config/],
  [{ alora_invocation_tokens: [1, 2] }, /alora_invocation_tokens.*activated LoRA/],
  [{ arrow_config: { top_k: 3 } }, /arrow_config/],
  [{ monteclora_config: { num_samples: 2 } }, /monteclora_config/],
  [{ megatron_config: { hidden_size: 8 } }, /megatron_config/],
  [{ enable_lora: [true, false, true] }, /enable_lora/],
  [{ init_lora_weights: 'pissa' }, /PiSSA.*path_initial_model_for_weight_conversion/],
  [{ init_lora_weights: 'pissa_niter_16' }, /"pissa_niter_16": fast PiSSA.*without it PEFT itself does not find/],
  [{ init_lora_weights: 'OLoRA' }, /OLoRA takes a part out.*merge_and_unload/],
  [{ init_lora_weights: 'corda' }, /CorDA/],
  [{ init_lora_weights: 'lora_ga' }, /LoRA-GA/],
  [{ init_lora_weights: 'loftq', loftq_config: { loftq_bits: 4 } }, /LoftQ belongs to base weights that it rounded/],
  [{ init_lora_weights: 'of_tomorrow' }, /"of_tomorrow", which is no start of training that is known/],
  [{ of_tomorrow: 0.5 }, /the field of_tomorrow \(0\.5\) is not known/],
  [{ of_tomorrow: 'x'.repeat(1000) }, /\(".{59}…\)/],
  [{ r: 0 }, /r is no rank: 0/],
  [{ r: -2 }, /r is no rank/],
  [{ r: 2.5 }, /r is no rank/],
  [{ r: '8' }, /r is no rank: "8"/],
  [{ lora_alpha: '16' }, /lora_alpha is no number/],
  [{ use_rslora: 'true' }, /use_rslora is "true"/],
  [{ rank_pattern: { down_proj: 0 } }, /rank_pattern is no object of positive numbers/],
  [{ alpha_pattern: { '(': 1 } }, /alpha_pattern: the key "\(" is no regular expression/],
])('refuses %j', (fields, message) => {
  expect(() => read(fields)).toThrow(message);
  expect(() => read(fields)).toThrow(expect.objectContaining({ name: 'BadModel' }));
});

it('has the ranks and alphas of PEFT where a file has none', () => {
  const { peft_type, target_modules } = PLAIN;
  const bytes = Buffer.from(JSON.stringify({ peft_type, target_modules }));
  expect(readPeftConfig(bytes, 'a.json')).toMatchObject({ rank: 8, alpha: 8, useRslora: false });
});

it('finds the values of layers by any of their names, and refuses two that differ', () => {
  const names = ['language_model.model.layers.0.mlp.down_proj', 'model.language_model.layers.0.mlp.down_proj'];
  expect(read({ rank_pattern: { '^language_model.*down_proj': 16 } }).rankOf(names)).toBe(16);
  expect(read({ rank_pattern: { 'mlp.down_proj': 2, down_proj: 16 } }).rankOf(names)).toBe(2);
  expect(read({ rank_pattern: { '(?P<first>layers\\.0\\.).*\\Z': 3 } }).rankOf(names)).toBe(3);
  expect(read({ rank_pattern: { up_proj: 16 } }).rankOf(names)).toBe(4);
  const { alphaOf } = read({ alpha_pattern: { '^language_model.*': 16, '^model.*': 3 } });
  expect(() => alphaOf(names)).toThrow(/alpha_pattern says 16 and 3 of one layer/);
});

it('ends expressions that would run for ever', () => {
  const { rankOf } = read({ rank_pattern: { '(.|.)*!': 2 } });
  const begun = Date.now();
  expect(() => rankOf(['model.language_model.layers.0.mlp.down_proj'])).toThrow(/takes too long/);
  expect(Date.now() - begun).toBeLessThan(30_000);
});
