/**
 * The six example tasks, learned one after another by several methods, without servers:
 * `npm run bench:stream -- [--methods anchored,paper] [--seeds 0,1,2] [--tasks option,digit] [--train 1200] [--json]`.
 * Prints the accuracy matrix and the metrics of each run, then a table over seeds; the floors are what an answer without
 * looking at the picture scores at best. Results go to bench/results/stream.json.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { EngineHooks, TrainResult } from '../activities/engine.ts';
import { DEFAULTS } from '../core/defaults.ts';
import { localFolder } from '../datasets/local-folder.ts';
import { packSplit } from '../datasets/prepared.ts';
import { validateDataset } from '../datasets/validate.ts';
import { makeDatasets, TASKS } from '../examples/make-datasets.ts';
import { metrics } from '../learning/evaluation/matrix.ts';
import { scorerNamed } from '../learning/evaluation/scorers.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import { selectLayers } from '../learning/methods/targets.ts';
import { readDefinition } from '../learning/model/registry.ts';
import { matrixText, metricsText, table } from '../report/terminal.ts';
import { Jobs } from '../workers/engine/jobs.ts';
import { ROOT } from '../workers/runtime.ts';

/** What is compared, by the name in the table. */
const RUNS: Readonly<Record<string, { method: string; options: Record<string, unknown> }>> = {
  anchored: { method: 'lilora', options: { variant: 'anchored' } },
  safe: { method: 'lilora', options: { variant: 'safe' } },
  released: { method: 'lilora', options: { variant: 'released' } },
  paper: { method: 'lilora', options: { variant: 'paper' } },
  'anchored-q4': { method: 'lilora', options: { variant: 'anchored', innerRank: 4 } },
  'per-task-lora': { method: 'per-task-lora', options: {} },
  replay: { method: 'replay', options: {} },
  joint: { method: 'joint', options: {} },
  lwf: { method: 'lwf', options: {} },
  'ortho-joint': { method: 'ortho-lora', options: { mode: 'joint' } },
  'ortho-replay': { method: 'ortho-lora', options: { mode: 'replay' } },
  'sequential-lora': { method: 'sequential-lora', options: {} },
  'zero-shot': { method: 'zero-shot', options: {} },
};

const value = <K extends keyof typeof DEFAULTS>(name: K): (typeof DEFAULTS)[K]['value'] => DEFAULTS[name].value;
const { values } = parseArgs({
  options: {
    methods: { type: 'string', default: 'anchored,safe,released,paper,per-task-lora,sequential-lora,zero-shot' },
    seeds: { type: 'string', default: '0,1,2' },
    tasks: { type: 'string', default: TASKS.join(',') },
    instructions: { type: 'string', default: 'single' },
    train: { type: 'string', default: '1200' },
    test: { type: 'string', default: '200' },
    epochs: { type: 'string', default: String(value('training.epochs')) },
    rate: { type: 'string', default: String(value('training.learningRate')) },
    clip: { type: 'string', default: String(value('training.clipNorm')) },
    model: { type: 'string', default: join(ROOT, 'examples/base-model') },
    out: { type: 'string', default: join(ROOT, 'bench/results/stream.json') },
    json: { type: 'boolean', default: false },
  },
});
const tasks = values.tasks.split(',');
const say = (text: string) => process.stderr.write(`${text}\n`);

const folder = mkdtempSync(join(tmpdir(), 'lilora-bench-'));
const jobs = await Jobs.open();
const hooks: EngineHooks = { signal: new AbortController().signal, onProgress: () => {} };
const model = { folder: values.model, digest: 'bench' };
const training = {
  learningRate: Number(values.rate),
  batchSize: value('training.batchSize'),
  microBatchSize: value('training.microBatchSize'),
  epochs: Number(values.epochs),
  warmupRatio: value('training.warmupRatio'),
  weightDecay: value('training.weightDecay'),
  clipNorm: Number(values.clip),
  dropout: value('training.dropout'),
};
const evaluation = { maxNewTokens: value('evaluation.maxNewTokens'), batchSize: value('evaluation.batchSize') };

interface Prepared {
  readonly metric: string;
  readonly train: string;
  readonly test: string;
  /** Best score of one answer given to every test sample. */
  readonly floor: number;
}

/** Every task as packed splits on disk. */
async function prepare(): Promise<Map<string, Prepared>> {
  const sizes = { train: Number(values.train), test: Number(values.test), seed: 0 };
  const instructions = values.instructions === 'five' ? 'five' : 'single';
  const made = await makeDatasets(join(folder, 'datasets'), { names: tasks, instructions, ...sizes });
  const prepared = new Map<string, Prepared>();
  for (const [task, path] of Object.entries(made)) {
    const { splits, images, manifest } = await validateDataset(localFolder(path), {});
    const write = (split: 'train' | 'test') => {
      const file = join(folder, `${task}-${split}.safetensors`);
      writeFileSync(file, packSplit(splits[split]!, images));
      return file;
    };
    const scorer = scorerNamed(manifest.metric);
    const references = splits.test!.map((sample) => sample.references);
    const constant = (text: string) => scorer.score(references.map((accepted) => ({ text, references: accepted })));
    const common = [...new Set(references.flat())].slice(0, 60);
    const floor = Math.max(...common.map((text) => constant(text).reduce((a, b) => a + b, 0) / references.length));
    prepared.set(task, { metric: manifest.metric, train: write('train'), test: write('test'), floor });
  }
  return prepared;
}

/** One method on one seed: the whole stream. */
async function run(name: string, seed: number, data: Map<string, Prepared>) {
  const { method, options: given } = RUNS[name]!;
  const { options: schema, consolidate } = methodNamed(method);
  const options = schema.parse(given);
  const common = { model, method: { name: method, options }, targets: value('stream.targets') };
  const rows: number[][] = [];
  let bank = null as string | null;
  let followed: number[] = [];
  const seconds = { training: 0, regularizing: 0, evaluating: 0 };
  const zeroShot: number[] = [];
  for (const [i, task] of tasks.entries()) {
    const out = join(folder, `${name}-${seed}-${i}`);
    mkdirSync(out);
    const { train, test, metric } = data.get(task)!;
    const base = await jobs.run(
      'evaluate',
      { ...common, task, bank: null, samples: test, metric, evaluation, out },
      hooks,
    );
    zeroShot.push(base.score);
    const before = bank as string | null;
    const trained: TrainResult = await jobs.run(
      'train',
      {
        ...common,
        task,
        bank,
        samples: train,
        rehearsed: tasks.slice(0, i).map((earlier) => ({ task: earlier, samples: data.get(earlier)!.train })),
        training,
        seed,
        identity: {},
        resume: null,
        checkpointSeconds: 1e9,
        out,
      },
      hooks,
    );
    const after = trained.bank;
    bank = after;
    seconds.training += trained.seconds;
    if (consolidate && before) {
      const regularized = join(out, 'regularized');
      mkdirSync(regularized);
      const started = Date.now();
      const job = {
        ...common,
        task,
        before,
        after: bank,
        strength: 0,
        samples: train,
        training,
        seed,
        out: regularized,
      };
      bank = (await jobs.run('consolidate', job, hooks)).bank;
      seconds.regularizing += (Date.now() - started) / 1000;
    }
    const row: number[] = [];
    followed = [];
    for (const earlier of tasks.slice(0, i + 1)) {
      const { test: samples, metric: scorer } = data.get(earlier)!;
      const result = await jobs.run(
        'evaluate',
        { ...common, task: earlier, bank, samples, metric: scorer, evaluation, out },
        hooks,
      );
      row.push(result.score);
      followed.push(result.instructionFollowing);
      seconds.evaluating += result.seconds;
    }
    rows.push(row);
    say(`  ${name} seed ${seed}: ${task.padEnd(9)} ${row.map((score) => score.toFixed(1)).join('  ')}`);
  }
  const matrix = { tasks, zeroShot, rows };
  const captions = tasks.filter((task) => scorerNamed(data.get(task)!.metric).unbounded);
  return { name, seed, matrix, metrics: metrics(matrix, followed, { captions }), seconds };
}

const data = await prepare();
const layers = selectLayers(layersOf(await readDefinition(values.model)), value('stream.targets'));
const results: Array<Awaited<ReturnType<typeof run>>> = [];
for (const name of values.methods.split(','))
  for (const seed of name === 'zero-shot' ? [0] : values.seeds.split(',').map(Number)) {
    const result = await run(name, seed, data);
    results.push(result);
    say(`${matrixText(result.matrix)}\n${metricsText(result.metrics)}\n`);
    writeFileSync(values.out, `${JSON.stringify({ engine: jobs.info, training, tasks, results }, null, 1)}\n`);
  }
rmSync(folder, { recursive: true });

/** The linear layers of a definition, by the shapes of its weights. */
function layersOf({ shapes }: Awaited<ReturnType<typeof readDefinition>>) {
  return [...shapes]
    .filter(([name, shape]) => shape.length === 2 && name.endsWith('.weight') && !/vision|embed|lm_head/.test(name))
    .map(([name, shape]) => ({ name: name.replace(/\.weight$/, ''), out: shape[0]!, in: shape[1]! }));
}

/** Mean and, over several seeds, the spread. */
function spread(numbers: Array<number | null>): string {
  const known = numbers.filter((x) => x !== null);
  if (known.length === 0) return '–';
  const mean = known.reduce((a, b) => a + b, 0) / known.length;
  const deviation = Math.sqrt(known.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, known.length - 1));
  return known.length > 1 ? `${mean.toFixed(1)} ± ${deviation.toFixed(1)}` : mean.toFixed(1);
}

const lora = methodNamed('per-task-lora').describe(layers, methodNamed('per-task-lora').options.parse({})).parameters
  .perTask;
const summary = [...new Set(results.map(({ name }) => name))].map((name) => {
  const runs = results.filter((result) => result.name === name);
  const { method, options } = RUNS[name]!;
  const { perTask } = methodNamed(method).describe(layers, methodNamed(method).options.parse(options)).parameters;
  const over = (key: keyof (typeof runs)[0]['metrics']) => spread(runs.map((result) => result.metrics[key]));
  const training = spread(runs.map(({ seconds }) => seconds.training));
  return [
    name,
    over('AP'),
    over('APWithoutCaptions'),
    over('MAP'),
    over('BWT'),
    over('forgetting'),
    over('MFT'),
    over('MIF'),
    `${((100 * perTask) / lora).toFixed(0)} %`,
    training,
  ];
});
const floors = tasks.map((task) => `${task} ${data.get(task)!.floor.toFixed(1)}`).join(', ');
const head = [
  'method',
  'AP',
  'without captions',
  'MAP',
  'BWT',
  'forgetting',
  'learned',
  'MIF',
  'own / LoRA',
  'training s',
];
process.stdout.write(
  values.json ? `${readFileSync(values.out, 'utf8')}` : `${table([head, ...summary])}\nimage-blind floors: ${floors}\n`,
);
