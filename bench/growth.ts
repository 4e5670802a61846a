/**
 * How seconds and bytes grow over a long stream: `npm run bench:growth [-- --tasks 30 --runs lilora,per-task-lora --json]`.
 * Small tasks of the examples one after another, on servers of its own. A run is a method, or `sampled`: LiLoRA that
 * evaluates earlier tasks on a quarter of their test samples.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeDatasets } from '../examples/make-datasets.ts';
import { table } from '../report/terminal.ts';
import { openStore } from '../store/open.ts';
import { TestServers } from '../test/servers.ts';
import { startStream, uploadFolder } from '../test/tiny-stream.ts';
import { ROOT } from '../workers/runtime.ts';
import type { StreamDefinition } from '../workflows/contract.ts';
import { row } from './paired.ts';
import { learnedCosts, type TaskCosts } from './task-costs.ts';

const { values } = parseArgs({
  options: {
    tasks: { type: 'string', default: '30' },
    train: { type: 'string', default: '64' },
    test: { type: 'string', default: '200' },
    runs: { type: 'string', default: 'lilora,per-task-lora,sampled' },
    json: { type: 'boolean', default: false },
    out: { type: 'string', default: join(ROOT, 'bench/results/growth.json') },
  },
});
const count = Number(values.tasks);
const [train, test] = [Number(values.train), Number(values.test)];
/** All but the digits, of which there is a limited number. */
const KINDS = ['option', 'caption', 'class', 'relation', 'open'];
const MODEL = 's3://lilora-test/model';
const store = () => openStore('s3://lilora-test/product');

/** A task and what the store holds after it. */
interface Grown extends TaskCosts {
  /** Bytes under `streams/`, and of what streams share. */
  readonly stored: { readonly stream: number; readonly cache: number };
}

const definitionOf = (run: string): StreamDefinition => ({
  name: run,
  model: MODEL,
  method: run === 'sampled' ? 'lilora' : run,
  training: { epochs: 1 },
  evaluation: run === 'sampled' ? { earlierSamples: test / 4 } : {},
  gate: { forgettingBudget: 1000, minimumGain: -1000 },
});

async function bytesUnder(prefix: string): Promise<number> {
  let bytes = 0;
  for await (const { size } of store().list(prefix)) bytes += size;
  return bytes;
}

const servers = await TestServers.start();
try {
  await uploadFolder(join(ROOT, 'examples/base-model'), MODEL);
  for (let i = 0; i < count; i++) {
    const folder = join(servers.folder, 'datasets', String(i));
    const [name] = [KINDS[i % KINDS.length]!];
    const made = await makeDatasets(folder, { names: [name], train, test, seed: i });
    await uploadFolder(made[name]!, `s3://lilora-test/datasets/${i}`);
  }
  await Promise.all([servers.worker('orchestrator'), servers.worker('gpu')]);
  const grown: Record<string, Grown[]> = {};
  for (const run of values.runs.split(',')) {
    // What another run evaluated must not be found.
    for await (const { key } of store().list('cache/')) await store().delete(key);
    await startStream(servers, definitionOf(run));
    const tasks: Grown[] = [];
    for (let i = 0; i < count; i++) {
      const costs = await learnedCosts(servers.client, run, `s3://lilora-test/datasets/${i}`, `task-${i + 1}`);
      const stored = { stream: await bytesUnder(`streams/${run}/`), cache: await bytesUnder('cache/') };
      tasks.push({ ...costs, stored });
      process.stderr.write(`${run}, task ${i + 1}: ${costs.total.toFixed(1)} s\n`);
    }
    grown[run] = tasks;
  }
  const rows = Object.entries(grown).flatMap(([run, tasks]) => {
    const [second, last] = [tasks[1]!, tasks.at(-1)!];
    const added = (at: number) => tasks[at]!.stored.stream - (tasks[at - 1]?.stored.stream ?? 0);
    const name = (what: string) => `${run}: ${what} of task ${count} against task 2`;
    const evaluation = ({ seconds }: Grown) => (seconds['evaluateTask'] ?? 0) + (seconds['findEvaluations'] ?? 0);
    return [
      row(name('seconds'), 's', [[last.total, second.total]]),
      row(name('seconds of evaluation'), 's', [[evaluation(last), evaluation(second)]]),
      row(name('seconds of publishing'), 's', [
        [last.seconds['publishGeneration']!, second.seconds['publishGeneration']!],
      ]),
      row(name('history events'), 'events', [[last.events, second.events]]),
      row(name('bytes added to the store'), 'MB', [[added(count - 1) / 1e6, added(1) / 1e6]]),
      row(name('largest payload'), 'kB', [[last.largestPayload / 1e3, second.largestPayload / 1e3]]),
    ];
  });
  writeFileSync(values.out, `${JSON.stringify({ rows, tasks: grown }, null, 1)}\n`);
  const lines = rows.map(({ name, ours, peer, ratio, unit }) => [
    name,
    ours.toPrecision(3),
    peer.toPrecision(3),
    unit,
    ratio.toFixed(2),
  ]);
  process.stdout.write(
    values.json ? `${JSON.stringify(rows)}\n` : `${table([['', 'last', 'second', '', 'ratio'], ...lines])}\n`,
  );
} finally {
  await servers.stop();
}
