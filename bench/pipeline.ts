/**
 * What the pipeline costs beside the learning: `npm run bench:pipeline [-- --tasks option,digit --json]`. Runs a stream on
 * servers of its own (Temporal, S3, one worker of each kind) and reads the stored histories: seconds per activity, seconds
 * that no activity ran, events and largest payload per task. The training logs tell how long the engine waited for input,
 * and those of one more training, which checkpoints all the time, what a checkpoint costs.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeDatasets } from '../examples/make-datasets.ts';
import type { StepProgress } from '../learning/training/options.ts';
import { table } from '../report/terminal.ts';
import { openStore } from '../store/open.ts';
import { TestServers } from '../test/servers.ts';
import { startStream, uploadFolder } from '../test/tiny-stream.ts';
import { ROOT } from '../workers/runtime.ts';
import { type Row, row } from './paired.ts';
import { learnedCosts, trainingSteps } from './task-costs.ts';

const { values } = parseArgs({
  options: {
    tasks: { type: 'string', default: 'digit,class,open' },
    json: { type: 'boolean', default: false },
    out: { type: 'string', default: join(ROOT, 'bench/results/pipeline.json') },
  },
});
const tasks = values.tasks.split(',');
const STREAM = 'bench';
/** Looking whether a checkpoint is due takes less, writing one takes more seconds. */
const SAVED = 0.001;
const shareText = ({ name, ours, ratio }: Row) => `${name}: ${ours.toFixed(3)} s, ${(100 * ratio).toFixed(2)} %`;
const servers = await TestServers.start();

try {
  const made = await makeDatasets(join(servers.folder, 'datasets'), { names: tasks });
  const started = Date.now();
  await uploadFolder(join(ROOT, 'examples/base-model'), 's3://lilora-test/model');
  for (const [task, folder] of Object.entries(made)) await uploadFolder(folder, `s3://lilora-test/datasets/${task}`);
  const uploading = (Date.now() - started) / 1000;
  await Promise.all([servers.worker('orchestrator'), servers.worker('gpu')]);
  const store = openStore('s3://lilora-test/product');
  const model = 's3://lilora-test/model';
  const stream = await startStream(servers, { name: STREAM, model });
  const rows = [];
  const steps: StepProgress[] = [];
  for (const [i, task] of tasks.entries()) {
    rows.push(await learnedCosts(servers.client, STREAM, `s3://lilora-test/datasets/${task}`, task));
    steps.push(...(await trainingSteps(store, STREAM, i + 1)));
  }
  const often = 'checkpoints';
  await startStream(servers, { name: often, model, limits: { checkpointSeconds: 0.5 } });
  await learnedCosts(servers.client, often, `s3://lilora-test/datasets/${tasks[0]}`, tasks[0]!);
  const saved = (await trainingSteps(store, often, 1)).map((step) => step.savedSeconds).filter((s) => s > SAVED);
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const stepping = sum(steps.map(({ secondsPerStep }) => secondsPerStep));
  const shares = [
    row('the engine waits for input, of its steps', 's', [[sum(steps.map((s) => s.waitedSeconds)), stepping]]),
    row(
      'a checkpoint, of a minute',
      's',
      saved.map((seconds) => [seconds, 60] as const),
    ),
  ];
  const result = {
    uploading,
    tasks: rows,
    stream: { events: (await stream.fetchHistory()).events!.length },
    rows: shares,
  };
  writeFileSync(values.out, `${JSON.stringify(result, null, 1)}\n`);
  const names = [...new Set(rows.flatMap(({ seconds }) => Object.keys(seconds)))];
  const lines = rows.map((row) => [
    row.task,
    row.total.toFixed(1),
    ...names.map((name) => row.seconds[name]?.toFixed(1) ?? ''),
    row.outside.toFixed(2),
    String(row.events),
    String(row.largestPayload),
  ]);
  const head = ['task', 'seconds', ...names, 'outside activities', 'events', 'largest payload, bytes'];
  process.stdout.write(
    values.json
      ? `${JSON.stringify(result)}\n`
      : `${table([head, ...lines])}\nuploading: ${uploading.toFixed(1)} s\n\n${shares.map(shareText).join('\n')}\n`,
  );
} finally {
  await servers.stop();
}
