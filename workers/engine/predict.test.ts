import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AdapterSource } from '../../activities/engine.ts';
import { writeBank } from '../../learning/methods/bank.ts';
import { foldOf } from '../../learning/methods/method.ts';
import { methodNamed } from '../../learning/methods/registry.ts';
import type { AdaptedLayer } from '../../learning/model/model.ts';
import { loadModel } from '../../learning/model/registry.ts';
import { Random } from '../../learning/training/random.ts';
import { writePeft } from '../../store/peft.ts';
import { pretend } from '../../test/pretend.ts';
import { expectNear, reference } from '../../test/reference.ts';
import { Jobs } from './jobs.ts';
import { writeInto } from './training.ts';

const folder = mkdtempSync(join(tmpdir(), 'lilora-predict-'));
const { folder: home } = reference('llava-mha');
const model = { folder: join(home, 'model'), digest: 'tiny' };
let jobs: Jobs;
let layers: AdaptedLayer[];

beforeAll(async () => {
  jobs = await Jobs.open();
  const base = await loadModel(model.folder);
  layers = base.layers.filter(({ name }) => name.includes('language_model'));
  base.dispose();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A bank of one task that moved far, and its file. */
async function learned(name: string, more: object) {
  const method = methodNamed(name);
  const options = method.options.parse({ rank: 4, alpha: 8, ...more });
  const bank = pretend(method, method.start(layers, options, new Random(1)), 'a', options, 0.5);
  const file = await writeInto(mkdtempSync(join(folder, `${name}-`)), 'bank.safetensors', writeBank(bank));
  return { bank, file, fold: foldOf(method, options) };
}

const predict = (adapter: AdapterSource) => {
  const asked = { model, prompt: 'Which colour?', images: [join(home, '../images/wide.png')], raw: true };
  const hooks = { signal: new AbortController().signal, onProgress: () => {} };
  return jobs.run('predict', { ...asked, adapter, maxNewTokens: 4 }, hooks);
};

it('answers from a bank what the PEFT adapter of the task answers', async () => {
  const { bank, file, fold } = await learned('lilora', {});
  const peft = join(folder, 'peft');
  mkdirSync(peft);
  for (const { path, bytes } of writePeft(fold!(bank, 'a'), { name: 'base' })) writeFileSync(join(peft, path), bytes);
  const [fromBank, fromPeft] = [await predict({ bank: file, task: 'a' }), await predict({ folder: peft })];
  expect(fromBank.tokens).toEqual(fromPeft.tokens);
  expectNear(fromBank.logProbabilities, fromPeft.logProbabilities, 2e-4, 'log-probabilities');
});

it.each([
  ['mixlora', { rank: 2, experts: 4 }],
  ['fm-lora', { promptTokens: 3 }],
])('answers from the bank of %s %o, which no PEFT adapter equals', async (name, more) => {
  const { file, fold } = await learned(name, more);
  expect(fold).toBe(null);
  const [own, base] = [await predict({ bank: file, task: 'a' }), await predict(null)];
  expect(own.tokens).toHaveLength(4);
  expect(own.logProbabilities).not.toEqual(base.logProbabilities);
  await expect(predict({ bank: file, task: 'b' })).rejects.toThrow('The bank knows no task "b"');
});
