/**
 * The example tasks, learned one after another by every method, through the product itself: Temporal, S3, workers.
 * `npm run bench:stream -- [--methods all|anchored,paper] [--seeds 0,1,2] [--orders given,reversed] [--instructions single,five]
 * [--tasks option,digit|variations:20] [--train 1200] [--data 0] [--sweep lilora] [--add '{"name": {"method": "lilora", "options": {…}}}'] [--out FILE] [--json]`.
 * Every combination is a stream of its own, some of them side by side; a workflow sees to all of them (workflow.ts).
 * Interrupted, it goes on where it was: streams and servers live in `--folder`, by what is learned. Results go to `--out` as
 * they come; the tables are printed at the end. `--sweep` runs what defaults are chosen from (sweeps.ts); take other data
 * for it (`--data 1`).
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Context } from '@temporalio/activity';
import { isGrpcServiceError, WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure, rootCause } from '@temporalio/common';
import { DefaultLogger, type NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { look, outcomeText, settled } from '../../cli/follow.ts';
import { startDeployment } from '../../cli/local/deployment.ts';
import { createStream, submitTask } from '../../cli/streams.ts';
import { reachableDataset, reachableModel } from '../../cli/upload.ts';
import { digestOf } from '../../core/json.ts';
import { makeDatasets, TASKS } from '../../examples/make-datasets.ts';
import { VARIATIONS } from '../../examples/variations.ts';
import { openStore } from '../../store/open.ts';
import { connectClient, connectWorker, loadSettings, temporalSettings } from '../../workers/config.ts';
import { codeVersion, ROOT } from '../../workers/runtime.ts';
import { type Result, type Results, resultOf } from './results.ts';
import { type Compared, ORDERS, RUNS } from './runs.ts';
import { SWEEPS } from './sweeps.ts';
import { linesOf, tables } from './tables.ts';
import { comparison, type Outcome, outcomeQuery, type PlannedStream } from './workflow.ts';

const { values } = parseArgs({
  options: {
    methods: { type: 'string', default: 'all' },
    seeds: { type: 'string', default: '0,1,2' },
    orders: { type: 'string', default: 'given' },
    instructions: { type: 'string', default: 'single' },
    tasks: { type: 'string', default: TASKS.join(',') },
    train: { type: 'string', default: '1200' },
    test: { type: 'string', default: '200' },
    data: { type: 'string', default: '0' },
    add: { type: 'string', default: '{}' },
    sweep: { type: 'string' },
    workers: { type: 'string', default: '2' },
    folder: { type: 'string', default: '.lilora/bench-stream' },
    out: { type: 'string', default: join(ROOT, 'bench/results/stream.json') },
    json: { type: 'boolean', default: false },
  },
});
const list = (text: string) => text.split(',').filter(Boolean);
const say = (text: string) => process.stderr.write(`${text}\n`);
// `variations:20` are the first twenty of the short tasks for long streams.
const variations = /^variations:(\d+)$/.exec(values.tasks)?.[1];
const tasks = variations ? VARIATIONS.slice(0, Number(variations)).map(({ name }) => name) : list(values.tasks);
if (values.sweep && !(values.sweep in SWEEPS))
  throw new Error(`There is no sweep ${values.sweep}. Choose from ${Object.keys(SWEEPS).join(', ')}.`);
const runs: Readonly<Record<string, Compared>> = {
  ...(values.sweep ? SWEEPS[values.sweep] : RUNS),
  ...(JSON.parse(values.add) as Record<string, Compared>),
};
const names = values.methods === 'all' ? Object.keys(runs) : list(values.methods);
const unknown = names.find((name) => !(name in runs)) ?? list(values.orders).find((order) => !(order in ORDERS));
if (unknown)
  throw new Error(`${unknown} is not known. Choose from ${[...Object.keys(runs), ...Object.keys(ORDERS)].join(', ')}.`);

// Small models are fastest with one thread; workers side by side use the other cores.
process.env['LILORA_THREADS'] ??= '1';
const { train, test, data, sweep = null } = values;
// What decides the data, and what a name of a run means: their streams and datasets lie apart.
const folder = join(resolve(values.folder), digestOf({ tasks, train, test, data, sweep }).slice(0, 8));
process.env['LILORA_HOME'] = folder;

/** Seeds outermost: every method has one result before any has two. */
function plan(): PlannedStream[] {
  const planned: PlannedStream[] = [];
  for (const seed of list(values.seeds).map(Number))
    for (const order of list(values.orders))
      for (const instructions of list(values.instructions))
        for (const run of names) {
          // Nothing is trained: one seed says all.
          if (run === 'zero-shot' && (seed !== Number(list(values.seeds)[0]) || order !== list(values.orders)[0]))
            continue;
          planned.push({
            stream: `${run}-${seed}-${order}-${instructions}`.replaceAll('.', '-'),
            ...{ run, seed, order, instructions },
          });
        }
  return planned;
}

// A signal ends this process in our order: the workflow goes on when the same command is given again.
Runtime.install({ logger: new DefaultLogger('WARN'), shutdownSignals: [] });
mkdirSync(folder, { recursive: true });
const deployment = await startDeployment({ folder, report: say, gpuWorkers: Number(values.workers) });
Object.assign(process.env, deployment.env);
const client = await connectClient(temporalSettings());
const store = openStore(deployment.store);
say(`Temporal UI: ${deployment.ui}`);
let interrupted = false;
process.once('SIGINT', () => {
  interrupted = true;
});

/** Places of datasets in the store, by instruction setting and task. */
type Places = Record<string, Record<string, string>>;

async function datasets(): Promise<Places> {
  const known = join(folder, 'datasets.json');
  const places: Places = existsSync(known) ? (JSON.parse(readFileSync(known, 'utf8')) as Places) : {};
  for (const instructions of list(values.instructions) as Array<'single' | 'five'>) {
    if (places[instructions]) continue;
    const made = await makeDatasets(join(folder, 'datasets'), {
      names: tasks,
      instructions,
      ...{ train: Number(train), test: Number(test), seed: Number(data) },
    });
    places[instructions] = {};
    for (const [task, path] of Object.entries(made))
      places[instructions][task] = await reachableDataset(path, deployment.store);
    rmSync(join(folder, 'datasets'), { recursive: true });
  }
  writeFileSync(known, JSON.stringify(places));
  return places;
}

/** The activity: what a stream itself says about its end is final, all else is tried again. */
const learnFinally: typeof learnStream = (...given) =>
  learnStream(...given).catch((error: unknown) => {
    const final = error instanceof WorkflowFailedError || error instanceof WorkflowUpdateFailedError;
    throw final ? ApplicationFailure.nonRetryable(rootCause(error)) : error;
  });

/** Defines a stream, submits its tasks, waits for the last; all of it may have happened before. */
async function learnStream(planned: PlannedStream, model: string, places: Places): Promise<void> {
  const { stream, run, seed, order, instructions } = planned;
  const { method, options, training = {}, gated = false } = runs[run]!;
  await createStream(client, {
    name: stream,
    model,
    method,
    options,
    training,
    seed,
    ...(gated ? {} : { gate: { forgettingBudget: 1000, minimumGain: -1000 } }),
  });
  const ordered = ORDERS[order]!(tasks);
  for (const task of ordered)
    await submitTask(client, async () => store, stream, { dataset: places[instructions]![task]! });
  for (;;) {
    const { tasks: lines } = (await look(client, stream)).stream;
    const failed = lines.find((line) => settled(line) && line.status !== 'published');
    if (failed) throw ApplicationFailure.nonRetryable(outcomeText(failed));
    if (lines.filter(settled).length === ordered.length) return;
    const { heartbeat, cancellationSignal } = Context.current();
    heartbeat();
    await setTimeout(1000, null, { signal: cancellationSignal });
  }
}

/** gRPC's status for it. */
const FAILED_PRECONDITION = 9;

/** A worker that has just come is not known to the server yet: nothing new. */
function notYet(error: unknown): Outcome {
  if (isGrpcServiceError(error) && error.code === FAILED_PRECONDITION) return outcome;
  throw error;
}

const results: Result[] = [];
let outcome: Outcome = { learned: [], failed: [] };

/** The commit of this code version, beside those that `--out` names already: its results may be from before an interruption. */
function knownCommits(): Results['commits'] {
  const known = existsSync(values.out)
    ? (JSON.parse(readFileSync(values.out, 'utf8')) as Partial<Results>).commits
    : {};
  try {
    const commit = execFileSync('git', ['describe', '--always', '--dirty', '--exclude=*'], {
      cwd: ROOT,
      stdio: 'pipe',
    });
    return { [codeVersion()]: commit.toString().trim(), ...known };
  } catch {
    // Not a checkout.
    return known ?? {};
  }
}
const commits = knownCommits();

/** What is new in `now`: results of streams that are done go to the file, failures are told. */
async function take(now: Outcome, planned: readonly PlannedStream[]): Promise<void> {
  for (const { stream, why } of now.failed.slice(outcome.failed.length)) say(`${stream}: ${why}`);
  for (const stream of now.learned.slice(outcome.learned.length)) {
    const { stream: _, ...about } = planned.find((each) => each.stream === stream)!;
    const result = await resultOf(store, stream, about);
    results.push(result);
    const { AP, BWT } = result.metrics;
    say(`${results.length}/${planned.length}  ${stream}: AP ${AP?.toFixed(1)}, BWT ${BWT?.toFixed(1) ?? '–'}`);
    const sorted = planned.flatMap(({ stream: _, ...about }) =>
      results.filter((r) => Object.entries(about).every(([key, value]) => r[key as keyof Result] === value)),
    );
    const file: Results = { tasks, train: Number(train), test: Number(test), commits, results: sorted };
    writeFileSync(values.out, `${JSON.stringify(file, null, 1)}\n`);
  }
  outcome = now;
}

let connection: NativeConnection | null = null;
try {
  const { model } = await reachableModel(join(ROOT, 'examples/base-model'), deployment.store);
  const places = await datasets();
  const streams = plan();
  const workflowId = `bench-stream/${digestOf({ streams, runs, model, places }).slice(0, 16)}`;
  connection = await connectWorker(loadSettings());
  const worker = await Worker.create({
    connection,
    // Of its own: what another command left unfinished waits for that command.
    taskQueue: workflowId,
    workflowsPath: fileURLToPath(new URL('./workflow.ts', import.meta.url)),
    activities: { learnStream: (planned: PlannedStream) => learnFinally(planned, model, places) },
  });
  await worker.runUntil(async () => {
    const handle = await client.workflow.start(comparison, {
      workflowId,
      workflowIdConflictPolicy: 'USE_EXISTING',
      taskQueue: workflowId,
      // One more than there are workers: while one waits for its data worker, no gpu worker is idle.
      args: [{ streams, atOnce: Number(values.workers) + 1 }],
    });
    for (;;) {
      await take(await handle.query(outcomeQuery).catch(notYet), streams);
      if (outcome.learned.length + outcome.failed.length === streams.length) return;
      if (interrupted) throw new Error('Interrupted. The same command goes on from here.');
      await setTimeout(1000);
    }
  });
} finally {
  await connection?.close();
  await client.connection.close();
  await deployment.stop();
}
process.stdout.write(values.json ? readFileSync(values.out, 'utf8') : `${tables(await linesOf(results, runs))}\n`);
if (outcome.failed.length > 0) {
  say(`Not in the table:\n${outcome.failed.map(({ stream, why }) => `${stream}: ${why}`).join('\n')}`);
  process.exitCode = 1;
}
