import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TensorMap } from '../core/host-tensor.ts';
import { writeSafetensors } from '../core/safetensors.ts';
import { toHubNames } from '../learning/model/llava/names.ts';
import { defineModel } from '../learning/model/registry.ts';
import { Random } from '../learning/training/random.ts';
import { ROOT } from '../workers/runtime.ts';
import { LLAVA, llamaTokenizer } from './vocabularies/llama.ts';

/** Writes a tiny LLaVA with LLaMA's whole vocabulary: layers as in the fixture, weights drawn from a seed. */
export function writeRealVocabularyModel(folder: string): void {
  cpSync(join(ROOT, 'test/fixtures/llava-mha/model'), folder, { recursive: true });
  const edit = (name: string, change: object) => {
    const before = JSON.parse(readFileSync(join(folder, name), 'utf8'));
    const after = { ...before, ...change };
    writeFileSync(join(folder, name), JSON.stringify(after));
    return after;
  };
  const pad = { pad_token_id: LLAVA.pad };
  const { text_config } = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  const text = { ...text_config, ...pad, vocab_size: LLAVA.vocabulary };
  const config = edit('config.json', { ...pad, image_token_index: LLAVA.image, text_config: text });
  const generation = edit('generation_config.json', pad);
  const { tokenizer, config: names } = llamaTokenizer();
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(names));

  const random = new Random(7);
  const weights: TensorMap = new Map();
  for (const [name, shape] of defineModel(config, generation).shapes) {
    const size = shape.reduce((all, dimension) => all * dimension, 1);
    const isNorm = /norm.*\.weight$/.test(name);
    const deviation = shape.length > 1 ? 1 / Math.sqrt(size / shape[0]!) : 0.05;
    const data = Float32Array.from({ length: size }, () => (isNorm ? 1 : random.normal() * deviation));
    weights.set(name, { shape, data });
  }
  writeFileSync(join(folder, 'model.safetensors'), writeSafetensors(toHubNames(weights), { format: 'pt' }));
}
