/**
 * What another gpu worker brings to evaluation: `npm run bench:fanout -- [--workers 2] [--test 1000] [--runs 3] [--json]`.
 * A stream learns the six example tasks (briefly: what they score does not matter here), then all six are evaluated again
 * and again on its bank, by one worker and by several, each on one thread. Every run computes everything anew; its scores
 * must be the same. `warm`: model and vision features are in memory, as in a stream that goes on; `cold`: the workers have
 * just started, and no vision features are on disk.
 */
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Worker } from '@temporalio/worker';
import { DEFAULTS } from '../core/defaults.ts';
import { makeDatasets, TASKS } from '../examples/make-datasets.ts';
import { table } from '../report/terminal.ts';
import { openStore } from '../store/open.ts';
import { TestServers } from '../test/servers.ts';
import { startStream, submitDataset, untilSettled, uploadFolder } from '../test/tiny-stream.ts';
import { connectWorker, loadSettings } from '../workers/config.ts';
import { ROOT } from '../workers/runtime.ts';
import { type LearnTaskResult, taskWorkflowId } from '../workflows/contract.ts';
import type { FanoutInput, fanout } from './fanout-workflow.ts';
import { median } from './paired.ts';
import { familySeconds, type ProcessKind } from './processor-seconds.ts';

const { values } = parseArgs({
  options: {
    workers: { type: 'string', default: '2' },
    train: { type: 'string', default: '64' },
    test: { type: 'string', default: '1000' },
    shard: { type: 'string', default: String(DEFAULTS['evaluation.shardSamples'].value) },
    runs: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
    out: { type: 'string', default: join(ROOT, 'bench/results/fanout.json') },
  },
});
const runs = Number(values.runs);
const many = Number(values.workers);
const say = (text: string) => process.stderr.write(`${text}\n`);
const QUEUE = 'bench-fanout';

process.env['LILORA_THREADS'] = '1';
const servers = await TestServers.start();
const store = openStore('s3://lilora-test/product');
const connection = await connectWorker(loadSettings(servers.env));

/** Learns the six tasks; its workers leave afterwards. */
async function prepare(): Promise<FanoutInput> {
  const made = await makeDatasets(join(servers.folder, 'datasets'), {
    train: Number(values.train),
    test: Number(values.test),
  });
  await uploadFolder(join(ROOT, 'examples/base-model'), 's3://lilora-test/model');
  const workers = await Promise.all(Array.from({ length: many }, () => servers.worker('gpu')));
  const definition = {
    name: 'bench',
    model: 's3://lilora-test/model',
    training: { epochs: 1 },
    evaluation: { shardSamples: Number(values.shard) },
    gate: { forgettingBudget: 1000, minimumGain: -1000 },
  };
  await startStream(servers, definition);
  for (const task of TASKS) {
    await uploadFolder(made[task]!, `s3://lilora-test/datasets/${task}`);
    await submitDataset(servers, 'bench', `s3://lilora-test/datasets/${task}`);
    const line = await untilSettled(servers, 'bench', task);
    if (line.status !== 'published') throw new Error(`${task}: ${line.status}, ${line.message}`);
    say(`learned ${task}`);
  }
  await Promise.all(workers.map(leave));
  const { state }: LearnTaskResult = await servers.client.workflow
    .getHandle(taskWorkflowId('bench', TASKS.at(-1)!))
    .result();
  return { definition: state.definition, bank: state.bank, tests: state.learned };
}

const leave = (worker: ChildProcess) =>
  new Promise((gone) => {
    worker.once('exit', gone);
    worker.kill('SIGTERM');
  });

interface Evaluation {
  readonly seconds: number;
  readonly scores: readonly number[];
  /** Processor seconds by what spent them. */
  readonly spent: Readonly<Record<ProcessKind, number>>;
}

/** One evaluation from nothing but what the workers have in memory. */
async function evaluate(input: FanoutInput): Promise<Evaluation> {
  for await (const { key } of store.list('cache/')) await store.delete(key);
  const before = familySeconds();
  const started = performance.now();
  const scores = await servers.client.workflow.execute<typeof fanout>('fanout', {
    workflowId: `fanout-${randomUUID()}`,
    taskQueue: QUEUE,
    args: [input],
  });
  const seconds = (performance.now() - started) / 1000;
  const after = Object.entries(familySeconds()) as Array<[ProcessKind, number]>;
  const spent = Object.fromEntries(after.map(([kind, sum]) => [kind, sum - before[kind]])) as Evaluation['spent'];
  return { seconds, scores, spent };
}

function spentLines(processor: ReadonlyArray<Record<ProcessKind, number> & { state: string; workers: number }>) {
  const line = ({ state, workers, ...spent }: (typeof processor)[number]) => [
    `${workers} gpu worker${workers > 1 ? 's' : ''}, ${state}`,
    ...KINDS.map((kind) => spent[kind].toFixed(2)),
  ];
  return [['', ...KINDS], ...processor.map(line)];
}

const KINDS = ['engines', 'gpu workers', 'orchestrator', 'Temporal', 'S3', 'this process'] as const;
/** Medians of the processor seconds of runs: what two cores have to give, and who takes it. */
function spending(runs: readonly Evaluation[]): Record<ProcessKind, number> {
  const of = (kind: ProcessKind) => median(runs.map(({ spent }) => spent[kind]));
  return Object.fromEntries(KINDS.map((kind) => [kind, of(kind)])) as Record<ProcessKind, number>;
}

try {
  await servers.worker('orchestrator');
  const input = await prepare();
  const decider = await Worker.create({
    connection,
    taskQueue: QUEUE,
    workflowsPath: fileURLToPath(new URL('./fanout-workflow.ts', import.meta.url)),
  });
  const measured = await decider.runUntil(async () => {
    const found: Array<Evaluation & { state: string; count: number }> = [];
    const scores = new Set<string>();
    for (const count of [1, many]) {
      for (let run = 0; run < runs; run++) {
        rmSync(join(servers.env['LILORA_CACHE']!, 'features'), { recursive: true, force: true });
        const workers = await Promise.all(Array.from({ length: count }, () => servers.worker('gpu')));
        for (const state of ['cold', 'warming', 'warm'] as const) {
          const once = await evaluate(input);
          scores.add(once.scores.join());
          found.push({ state, count, ...once });
          say(`${count} worker${count > 1 ? 's' : ''}, ${state}: ${once.seconds.toFixed(2)} s`);
        }
        await Promise.all(workers.map(leave));
      }
    }
    if (scores.size !== 1) throw new Error(`The scores differ: ${[...scores].join(' / ')}`);
    return found;
  });
  const rows = (['cold', 'warm'] as const).map((state) => {
    const [ours, peer] = [many, 1].map((count) =>
      median(measured.filter((one) => one.state === state && one.count === count).map(({ seconds }) => seconds)),
    );
    return {
      name: `evaluation of ${TASKS.length} tasks, ${many} gpu workers against one, ${state}`,
      ours: ours!,
      peer: peer!,
      ratio: peer! / ours!,
      unit: 's',
      runs,
    };
  });
  const processor = (['cold', 'warm'] as const).flatMap((state) =>
    [1, many].map((count) => {
      const runs = measured.filter((one) => one.state === state && one.count === count);
      return { state, workers: count, seconds: median(runs.map(({ seconds }) => seconds)), ...spending(runs) };
    }),
  );
  writeFileSync(values.out, `${JSON.stringify({ rows, processor }, null, 1)}\n`);
  const lines = rows.map(({ name, ours, peer, ratio }) => [
    name,
    ours.toFixed(2),
    peer.toFixed(2),
    `${ratio.toFixed(2)} ×`,
  ]);
  process.stdout.write(
    values.json
      ? `${JSON.stringify({ rows, processor })}\n`
      : `${table([['', `${many} workers, s`, 'one worker, s', ''], ...lines])}\n\nprocessor seconds\n${table(spentLines(processor))}\n`,
  );
} finally {
  await connection.close();
  await servers.stop();
}
