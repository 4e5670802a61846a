import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { reference } from '../../test/reference.ts';
import { startTensors } from '../tensors/backend.ts';
import { padBatch } from '../training/batches.ts';
import { adjust, readGeneration } from './generation.ts';
import { noAdapter } from './model.ts';
import { loadModel } from './registry.ts';

/* Single rows are held to transformers in workers/engine/sources.test.ts. */

const folder = mkdtempSync(join(tmpdir(), 'lilora-generation-'));
beforeAll(() => startTensors('tensorflow'));
afterAll(() => rmSync(folder, { recursive: true }));

test('rows of a batch, compiled or not, answer as each alone: padding counts for nothing', async () => {
  const ref = reference('qwen2vl');
  cpSync(join(ref.folder, 'model'), folder, { recursive: true });
  const file = join(folder, 'generation_config.json');
  const settings = { repetition_penalty: 1.3, no_repeat_ngram_size: 2, min_new_tokens: 4 };
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...settings }));
  const model = await loadModel(folder);
  const whole = [...ref.batch('text').inputIds];
  const prompts = [whole, whole.slice(-9), whole.slice(3, -2)];
  const batchOf = (rows: number[][]) =>
    padBatch(
      rows.map((ids, i) => ({ id: `${i}`, inputIds: Int32Array.from(ids), labels: null, images: [], references: [] })),
      model.padToken,
      { side: 'left' },
    );
  const batch = batchOf(prompts);
  const alone = prompts.map((ids) => model.generate(batchOf([ids]), null, noAdapter, 8)[0]!.ids);
  expect(new Set(alone.map((ids) => ids.join())).size).toBe(3);
  expect(model.generate(batch, null, noAdapter, 8).map(({ ids }) => ids)).toEqual(alone);
  const generator = model.generator(() => noAdapter);
  expect(generator.generate(batch, null, 8, {}).map(({ ids }) => ids)).toEqual(alone);
  generator.dispose();
  model.dispose();
  const plain = await loadModel(join(ref.folder, 'model'));
  expect(plain.generate(batch, null, noAdapter, 8).map(({ ids }) => ids)).not.toEqual(alone);
  plain.dispose();
});

test('settings at their neutral values are none; a later source counts where an earlier one says nothing', () => {
  expect(readGeneration([{ repetition_penalty: 1, num_beams: 1, do_sample: true, suppress_tokens: [] }], 'x')).toBe(
    null,
  );
  const sources = [
    { repetition_penalty: 1, min_length: 3 },
    { repetition_penalty: 1.2, min_length: 9 },
  ];
  expect(readGeneration(sources, 'x')).toEqual({ repetition_penalty: 1.2, min_length: 3 });
});

test('a prompt of one token forces the beginning; tokens beyond the vocabulary change nothing', () => {
  const scores = Float32Array.of(1, 2, 3);
  const at = { prompt: [0], answer: [], maxNewTokens: 4, endTokens: [2] };
  adjust(scores, { forced_bos_token_id: 1, suppress_tokens: [7], bad_words_ids: [[9], [2]] }, at);
  expect(scores.indexOf(Math.max(...scores))).toBe(1);
  const plain = Float32Array.of(1, 2, 3);
  adjust(plain, { suppress_tokens: [7], bad_words_ids: [[9], [2]] }, at);
  expect([...plain]).toEqual([1, 2, 3]);
});
