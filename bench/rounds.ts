/**
 * Training over two workers in rounds beside one worker, on real parts (Temporal, S3, two gpu worker processes):
 * `LILORA_THREADS=1 npm run bench:rounds -- [--steps 5,15,75] [--tasks digit,class,open] [--seeds 0] [--add] [--json]`.
 * Learns the tasks one after another with each setting and tells final scores, bytes and seconds of training. One worker
 * with a batch of 32 takes as many steps from as many samples as two workers with 16 each: it is what exchanging
 * gradients after every step would give. `--outer 0.7:0.9` (rate and momentum) and `--epochs 4` change the runs in rounds.
 * `--add` keeps the runs that bench/results/rounds.json has from other seeds.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultPayloadConverter } from '@temporalio/common';
import type { AveragedRound } from '../activities/average-round.ts';
import type { OpenedRounds } from '../activities/open-rounds.ts';
import type { TrainRoundInput, WorkerRound } from '../activities/train-round.ts';
import { makeDatasets } from '../examples/make-datasets.ts';
import { TestServers } from '../test/servers.ts';
import { startStream, submitDataset, untilSettled, uploadFolder } from '../test/tiny-stream.ts';
import { ROOT } from '../workers/runtime.ts';
import {
  type StreamDefinition,
  type StreamDescription,
  streamWorkflowId,
  taskWorkflowId,
} from '../workflows/contract.ts';
import { type Row, row, rowsTable } from './paired.ts';

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '5,15,75' },
    tasks: { type: 'string', default: 'digit,class,open' },
    seeds: { type: 'string', default: '0' },
    outer: { type: 'string', default: '' },
    epochs: { type: 'string', default: '' },
    out: { type: 'string', default: join(ROOT, 'bench/results/rounds.json') },
    add: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const WORKERS = 2;
const [ONE, ONE_LARGE] = ['one worker', 'one worker, batch 32'];
const tasks = values.tasks.split(',');
const say = (text: string) => process.stderr.write(`${text}\n`);

interface Run {
  readonly name: string;
  readonly seed: number;
  readonly tasks: readonly string[];
  /** Scores by task: just after it was learned, and at the end. */
  readonly learned: readonly number[];
  readonly scores: readonly number[];
  /** From the first training activity to the end of the last, over all tasks. */
  readonly seconds: number;
  /**
   * Weights on their way between workers and the average; moments and momentum that pass through the store; and what
   * exchanging gradients after every step would move.
   */
  readonly bytes: { readonly exchanged: number; readonly kept: number; readonly gradients: number };
}

type Training = NonNullable<StreamDefinition['training']>;
const [learningRate, momentum] = values.outer ? values.outer.split(':').map(Number) : [];
const outer = values.outer ? { outerLearningRate: learningRate!, outerMomentum: momentum! } : {};
const rounds = values.steps.split(',').map((text): [string, Training] => {
  const tag = `${values.outer && `, outer ${values.outer}`}${values.epochs && `, ${values.epochs} epochs`}`;
  const longer = values.epochs ? { epochs: Number(values.epochs) } : {};
  return [`H ${text}${tag}`, { workers: WORKERS, roundSteps: Number(text), ...outer, ...longer }];
});
const settings: ReadonlyArray<readonly [string, Training]> = [
  [ONE, {}],
  [ONE_LARGE, { batchSize: 32, microBatchSize: 32 }],
  ...rounds,
];

type Payload = Parameters<typeof defaultPayloadConverter.fromPayload>[0];
const decode = <T>(of: { payloads?: Payload[] | null } | null | undefined): T =>
  defaultPayloadConverter.fromPayload<T>(of!.payloads![0]!);

/** Seconds and bytes of one task's training, from its stored history. */
async function trainingOf(stream: string, task: string) {
  const { events } = await servers.client.workflow.getHandle(taskWorkflowId(stream, task)).fetchHistory();
  const scheduled = new Map<string, { name: string; input: unknown }>();
  let [began, ended, steps, weightBytes, exchanged, kept] = [Number.POSITIVE_INFINITY, 0, 0, 0, 0, 0];
  for (const event of events!) {
    const at = Number(event.eventTime!.seconds) + (event.eventTime!.nanos ?? 0) / 1e9;
    const { activityTaskScheduledEventAttributes: asked, activityTaskCompletedEventAttributes: done } = event;
    if (asked) {
      const name = asked.activityType!.name!;
      scheduled.set(String(event.eventId), { name, input: decode(asked.input) });
      if (/^(trainTask|openRounds)$/.test(name)) began = Math.min(began, at);
    }
    if (!done) continue;
    const { name, input } = scheduled.get(String(done.scheduledEventId))!;
    if (/^(trainTask|averageRound)$/.test(name)) ended = at;
    if (name === 'openRounds') ({ steps } = decode<OpenedRounds>(done.result));
    if (name === 'trainRound') {
      const { from } = input as TrainRoundInput;
      const { weights, inner } = decode<WorkerRound>(done.result);
      weightBytes = weights.size;
      exchanged += 2 * weights.size + (from?.weights.size ?? 0); // up, to the average, down again in the next round
      kept += inner.size + (from?.inner.size ?? 0);
    }
    if (name === 'averageRound') {
      const { weights, velocity } = decode<AveragedRound>(done.result);
      exchanged += weights.size;
      kept += velocity.size;
    }
  }
  return { seconds: ended - began, exchanged, kept, gradients: 2 * WORKERS * steps * weightBytes };
}

/** Learns all tasks with one setting. */
async function learn(name: string, training: Training, seed: number, datasets: Record<string, string>): Promise<Run> {
  const stream = `${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}-${seed}`;
  const gate = { minimumGain: -100, forgettingBudget: 100 }; // every bank is taken as training left it
  await startStream(servers, { name: stream, model: MODEL, seed, training, gate });
  for (const task of tasks) {
    await submitDataset(servers, stream, datasets[task]!);
    const { status, message } = await untilSettled(servers, stream, task, 500);
    if (status !== 'published') throw new Error(`${stream}: ${task} is ${status}: ${message}`);
  }
  const handle = servers.client.workflow.getHandle(streamWorkflowId(stream));
  const { matrix } = await handle.query<StreamDescription>('describe');
  const parts = await Promise.all(tasks.map((task) => trainingOf(stream, task)));
  const sum = (of: keyof (typeof parts)[0]) => parts.reduce((total, part) => total + part[of], 0);
  const learned = matrix.rows.map((scores, i) => scores[i]!);
  const scores = matrix.rows.at(-1)!;
  say(`${name}, seed ${seed}: ${scores.map((score) => score.toFixed(1)).join('  ')}, ${sum('seconds').toFixed(1)} s`);
  const bytes = { exchanged: sum('exchanged'), kept: sum('kept'), gradients: sum('gradients') };
  return { name, seed, tasks, learned, scores, seconds: sum('seconds'), bytes };
}

const MODEL = 's3://lilora-test/model';
const servers = await TestServers.start();
try {
  const made = await makeDatasets(join(servers.folder, 'datasets'), { names: tasks });
  await uploadFolder(join(ROOT, 'examples/base-model'), MODEL);
  const datasets: Record<string, string> = {};
  for (const [task, folder] of Object.entries(made)) {
    datasets[task] = `s3://lilora-test/datasets/${task}`;
    await uploadFolder(folder, datasets[task]);
  }
  await servers.worker('orchestrator');
  for (let worker = 0; worker < WORKERS; worker++) await servers.worker('gpu');

  const runs: Run[] = values.add && existsSync(values.out) ? JSON.parse(readFileSync(values.out, 'utf8')).runs : [];
  for (const seed of values.seeds.split(',').map(Number))
    for (const [name, training] of settings) {
      if (runs.some((run) => run.name === name && run.seed === seed)) continue;
      runs.push(await learn(name, training, seed, datasets));
      writeFileSync(values.out, `${JSON.stringify({ runs }, null, 1)}\n`);
    }
  const rows = rowsOf(runs);
  process.stdout.write(values.json ? `${JSON.stringify(rows)}\n` : `${rowsTable(rows)}\n`);
} finally {
  await servers.stop();
}

/** Every setting in rounds beside the two settings of one worker, paired by seed. */
function rowsOf(runs: readonly Run[]): Row[] {
  const lost = ({ scores }: Run) => 100 - scores.reduce((sum, score) => sum + score, 0) / scores.length;
  const names = [...new Set(runs.filter(({ bytes }) => bytes.exchanged > 0).map(({ name }) => name))];
  return names.flatMap((name) => {
    const own = runs.filter((run) => run.name === name);
    const beside = (peer: string, of: (run: Run) => number) =>
      own.flatMap((run) => {
        const other = runs.find((one) => one.name === peer && one.seed === run.seed);
        return other ? [[of(run), of(other)] as const] : [];
      });
    const bytes = own.map((run) => [run.bytes.exchanged / 1e6, run.bytes.gradients / 1e6] as const);
    return [
      row(`${name}: points missing to 100, beside one worker`, 'points', beside(ONE, lost)),
      row(`${name}: points missing to 100, beside one worker with batch 32`, 'points', beside(ONE_LARGE, lost)),
      row(`${name}: between workers, beside gradients after every step`, 'MB', bytes),
      row(
        `${name}: training, beside one worker`,
        's',
        beside(ONE, ({ seconds }) => seconds),
      ),
    ];
  });
}
