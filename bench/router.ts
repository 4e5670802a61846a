/**
 * How often a router finds the task of a prompt: `npm run bench:router -- [--train 1000] [--test 200] [--instructions five]
 * [--json]`. The six example tasks through the base model of the examples, tasks added one after another as a stream adds
 * them. Nothing is trained: routers look at the base model alone.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Sample } from '../core/sample.ts';
import { imageSizes } from '../datasets/image.ts';
import { localFolder } from '../datasets/local-folder.ts';
import { openProcessor } from '../datasets/processor/processor.ts';
import { validateDataset } from '../datasets/validate.ts';
import { type DatasetOptions, makeDatasets, TASKS } from '../examples/make-datasets.ts';
import { loadModel } from '../learning/model/registry.ts';
import { promptFeatures } from '../learning/routing/features.ts';
import { type RoutedTask, routerOf } from '../learning/routing/router.ts';
import { statisticsOf } from '../learning/routing/statistics.ts';
import { startTensors } from '../learning/tensors/backend.ts';
import { table } from '../report/terminal.ts';
import { Features } from '../workers/engine/features.ts';
import { ROOT } from '../workers/runtime.ts';

const { values } = parseArgs({
  options: {
    train: { type: 'string', default: '1000' },
    test: { type: 'string', default: '200' },
    instructions: { type: 'string', default: 'single' },
    json: { type: 'boolean', default: false },
  },
});

await startTensors();
const folder = join(ROOT, 'examples/base-model');
const [model, processor] = await Promise.all([loadModel(folder), openProcessor(folder)]);
const vision = new Features(model, processor, null);

async function featuresOf(samples: readonly Sample[], images: ReadonlyMap<string, Uint8Array>) {
  const sizes = await imageSizes(images);
  return promptFeatures({
    model,
    samples: samples.map((sample) => processor.encodePrompt(sample, sizes)),
    vision: (digests) => vision.ofBatch(digests, images),
    batchSize: 50,
    signal: new AbortController().signal,
    onProgress: () => {},
  });
}

const work = mkdtempSync(join(tmpdir(), 'lilora-router-'));
try {
  const made = await makeDatasets(work, {
    train: Number(values.train),
    test: Number(values.test),
    instructions: values.instructions as DatasetOptions['instructions'],
  });
  const tasks: RoutedTask[] = [];
  const tests = new Map<string, Float64Array[]>();
  const results: Array<{ tasks: number; router: string; accuracy: number; ofTask: Record<string, number> }> = [];
  for (const task of TASKS) {
    const images = new Map<string, Uint8Array>();
    const { splits } = await validateDataset(localFolder(made[task]!), { processor, images });
    tasks.push({ task, statistics: statisticsOf(await featuresOf(splits.train!, images)) });
    tests.set(task, await featuresOf(splits.test!, images));
    process.stderr.write(`looked at ${task}\n`);
    for (const kind of ['centroid', 'lda'] as const) {
      const router = routerOf(kind, tasks);
      const right = [...tests].map(([name, prompts]) => prompts.filter((x) => router.choose(x) === name).length);
      const counts = [...tests.values()].map(({ length }) => length);
      const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b);
      const ofTask = Object.fromEntries([...tests.keys()].map((name, t) => [name, (100 * right[t]!) / counts[t]!]));
      results.push({ tasks: tasks.length, router: kind, accuracy: (100 * sum(right)) / sum(counts), ofTask });
    }
  }
  const rows = results.map(({ tasks: count, router, accuracy, ofTask }) => [
    String(count),
    router,
    accuracy.toFixed(1),
    ...TASKS.map((task) => ofTask[task]?.toFixed(1) ?? ''),
  ]);
  process.stdout.write(
    values.json ? `${JSON.stringify(results)}\n` : `${table([['tasks', 'router', 'right, %', ...TASKS], ...rows])}\n`,
  );
} finally {
  rmSync(work, { recursive: true, force: true });
  model.dispose();
}
