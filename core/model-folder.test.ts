import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseJson } from './json.ts';
import { noConfig, noWeights, refuseOtherKinds } from './model-folder.ts';
import { readSafetensors, SafetensorsFile } from './safetensors.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'folder-'));
});
afterEach(() => rm(folder, { recursive: true }));

test.each([
  [['pytorch_model.bin'], /pickled \(pytorch_model\.bin\).*python -c "from transformers/],
  [['pytorch_model-00001-of-00002.bin', 'pytorch_model.bin.index.json'], /pickled/],
  [['consolidated.00.pth'], /pickled \(consolidated/],
  [['adapter_config.json', 'adapter_model.safetensors'], /an adapter, not a model.*--adapter/],
  [['llava-q4_k.gguf'], /llava-q4_k\.gguf holds weights in GGUF.*hf download/],
  [['tf_model.h5'], /tf_model\.h5 holds weights of another program/],
  [['consolidated.safetensors'], /only consolidated\.safetensors/],
  [[], /neither model\.safetensors nor .*hf download/],
])('weights of another kind: %j', async (names, message) => {
  for (const name of names) await writeFile(join(folder, name), '{}');
  expect((await noWeights(folder)).message).toMatch(message);
});

test.each([
  [['adapter_config.json'], /config\.json: no such file; this is an adapter/],
  [['x.gguf'], /x\.gguf is in GGUF/],
  [['params.json'], /their authors/],
  [['snapshots'], /below snapshots/],
  [[], /Check the model folder/],
])('no configuration: %j', async (names, message) => {
  for (const name of names) await writeFile(join(folder, name), '{}');
  expect((await noConfig(folder)).message).toMatch(message);
});

test.each([
  [
    { model_type: 'llava', architectures: ['LlavaLlamaForCausalLM'] },
    /original LLaVA code \(LlavaLlamaForCausalLM\).*llava-hf/,
  ],
  [{ model_type: 'llava_llama', mm_projector_type: 'mlp2x_gelu' }, /original LLaVA code \(mm_projector_type\)/],
  [{ model_type: 'llava_mistral', architectures: ['LlavaMistralForCausalLM'] }, /original LLaVA code/],
  [
    { model_type: 'qwen2_vl', quantization_config: { quant_method: 'awq', bits: 4 } },
    /quantized \(quantization_config: awq, 4 bits\).*dequantize/,
  ],
  [
    { model_type: 'smolvlm', text_config: { quantization_config: { load_in_8bit: true } } },
    /quantized \(text_config\.quantization_config: no method named, 8 bits\)/,
  ],
  [{ model_type: 'llava', quantization: { group_size: 64, bits: 4 } }, /quantized .*4 bits/],
  [{ model_type: 'qwen2_5_vl', architectures: ['X'] }, /"qwen2_5_vl" \(X\)\. Supported: llava/],
  [{ model_type: 'phi3_v', auto_map: { AutoConfig: 'a.B' } }, /its code comes with it \(auto_map\).* never run/],
  [{}, /model_type is absent/],
  [{ model_type: 'constructor' }, /model_type is "constructor"/],
  [[], /no JSON object/],
])('another kind of model: %j', (config, message) => {
  expect(() => refuseOtherKinds(config, 'm/config.json')).toThrow(message);
  expect(() => refuseOtherKinds(config, 'm/config.json')).toThrow(/^m\/config\.json: /);
});

test('a folder around the model names it', async () => {
  await mkdir(join(folder, 'checkpoint-500'));
  await writeFile(join(folder, 'checkpoint-500', 'config.json'), '{}');
  expect((await noConfig(folder)).message).toMatch(/there is one in checkpoint-500\. Name that folder/);
});

test('what is read passes, with code of its own beside it, too', () => {
  for (const model_type of ['llava', 'idefics3', 'smolvlm', 'qwen2_vl'])
    refuseOtherKinds({ model_type, auto_map: {}, quantization_config: null }, 'config.json');
});

test('a Git LFS pointer is told for what it is, wherever it stands', async () => {
  const pointer = Buffer.from(
    `version https://git-lfs.github.com/spec/v1\noid sha256:${'4d'.repeat(32)}\nsize 14135\n`,
  );
  const message = /a Git LFS pointer to 14135 bytes.*git lfs pull/;
  const path = join(folder, 'model.safetensors');
  await writeFile(path, pointer);
  await expect(SafetensorsFile.open(path)).rejects.toThrow(message);
  expect(() => readSafetensors(pointer, 'x')).toThrow(message);
  expect(() => parseJson(pointer, 'tokenizer.json', { errorName: 'BadModel' })).toThrow(message);
  expect(() => parseJson('version https://example.org', 'x')).toThrow(/1:1: expected a JSON value/);
});
