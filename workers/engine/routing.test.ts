import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EvaluateJob } from '../../activities/engine.ts';
import type { Sample } from '../../core/sample.ts';
import { localFolder } from '../../datasets/local-folder.ts';
import { writeSplit } from '../../datasets/prepared.ts';
import { validateDataset } from '../../datasets/validate.ts';
import type { Prediction } from '../../learning/evaluation/evaluate.ts';
import { writeBank } from '../../learning/methods/bank.ts';
import { methodNamed } from '../../learning/methods/registry.ts';
import { loadModel } from '../../learning/model/registry.ts';
import { readStatistics } from '../../learning/routing/statistics.ts';
import { Random } from '../../learning/training/random.ts';
import { pretend } from '../../test/pretend.ts';
import { reference } from '../../test/reference.ts';
import { writeSmallDataset } from '../../test/small-dataset.ts';
import { Jobs } from './jobs.ts';
import { chosenPrompts } from './routing.ts';
import { writeInto } from './training.ts';

const folder = mkdtempSync(join(tmpdir(), 'lilora-routing-'));
const model = { folder: join(reference('llava-mha').folder, 'model'), digest: 'tiny' };
const hooks = { signal: new AbortController().signal, onProgress: () => {} };
const images = new Map<string, Uint8Array>();
let jobs: Jobs;
let samples: readonly Sample[];
let bank: string;

const pack = async (name: string, of: readonly Sample[]) => {
  const path = join(folder, `${name}.safetensors`);
  await writeSplit(path, of, images, new Map());
  return path;
};
const statistics = async (task: string, split: string) => {
  const job = { model, task, samples: split, batchSize: 4, seed: 0, out: mkdtempSync(join(folder, 'out-')) };
  return (await jobs.run('routingStatistics', job, hooks)).statistics;
};
const testJob = (task: string, split: string): EvaluateJob => ({
  ...{ model, task, bank, samples: split, metric: 'exact', targets: 'all-linear' },
  method: { name: 'per-task-lora', options: {} },
  evaluation: { maxNewTokens: 4, batchSize: 4 },
  out: mkdtempSync(join(folder, 'out-')),
});

beforeAll(async () => {
  const data = mkdtempSync(join(folder, 'data-'));
  await writeSmallDataset(data, { name: 'colours', train: 6, test: 6, seed: 2 });
  samples = (await validateDataset(localFolder(data), { images })).splits.test!;
  jobs = await Jobs.open();
  const method = methodNamed('per-task-lora');
  const options = method.options.parse({ rank: 4, alpha: 8 });
  const base = await loadModel(model.folder);
  let made = method.start(
    base.layers.filter(({ name }) => name.includes('language_model')),
    options,
    new Random(1),
  );
  base.dispose();
  for (const task of ['a', 'b']) made = pretend(method, made, task, options, 1);
  bank = await writeInto(folder, 'bank.safetensors', writeBank(made));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('answers each prompt with the adapter of the task that is chosen for it', async () => {
  const plain = await pack('plain', samples);
  const answersOf = async (task: string) => {
    const { predictions } = await jobs.run('evaluate', testJob(task, plain), hooks);
    const lines = readFileSync(predictions, 'utf8').trimEnd().split('\n');
    return lines.map((line) => (JSON.parse(line) as Prediction).text);
  };
  const [a, b] = [await answersOf('a'), await answersOf('b')];
  // The fourth prompt alone is what task b looks like: it goes there, and those that look the same to the model.
  const tasks = [
    { task: 'a', statistics: await statistics('a', await pack('first', [samples[0]!])) },
    { task: 'b', statistics: await statistics('b', await pack('other', [samples[3]!])) },
  ];
  const [first, other] = tasks.map((each) => readStatistics(readFileSync(each.statistics), each.task));
  const dot = (x: Float64Array, y: Float64Array) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  const chosen: string[] = [];
  for (const sample of samples) {
    const { mean } = readStatistics(readFileSync(await statistics('x', await pack('one', [sample]))), 'one');
    chosen.push(dot(mean, other!.mean) > dot(mean, first!.mean) ? 'b' : 'a');
  }
  expect(new Set(chosen)).toEqual(new Set(['a', 'b']));
  expect(a.filter((text, i) => text !== b[i]).length, 'the adapters answer alike').toBeGreaterThan(3);

  // Everything is right if and only if every prompt was answered by the task that was chosen for it.
  const references = samples.map((sample, i) => ({ ...sample, references: [chosen[i] === 'b' ? b[i]! : a[i]!] }));
  const split = await pack('references', references);
  const job = testJob('a', split);
  const { predictions } = await jobs.run('evaluate', job, hooks);
  const routed = await jobs.run(
    'evaluateRouted',
    { ...job, predictions, routing: { router: 'centroid', tasks } },
    hooks,
  );
  const count = (task: string) => chosen.filter((each) => each === task).length;
  expect(routed).toMatchObject({
    score: 100,
    count: 6,
    chosen: { a: count('a'), b: count('b') },
    accuracy: (100 * count('a')) / 6,
  });
});

it('looks at a bounded part of large splits, the same each time', () => {
  expect([...chosenPrompts(3, 0, 'a')]).toEqual([0, 1, 2]);
  const some = chosenPrompts(5000, 7, 'a');
  expect(some).toEqual(chosenPrompts(5000, 7, 'a'));
  expect(new Set(some).size).toBe(1000);
});
