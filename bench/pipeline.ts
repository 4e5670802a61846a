/**
 * What the pipeline costs beside the learning: `npm run bench:pipeline [-- --tasks option,digit --json]`. Runs a stream on
 * servers of its own (Temporal, S3, one worker of each kind) and reads the stored histories: seconds per activity, seconds
 * that no activity ran, events and largest payload per task.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeDatasets } from '../examples/make-datasets.ts';
import { table } from '../report/terminal.ts';
import { TestServers } from '../test/servers.ts';
import { uploadFolder } from '../test/tiny-stream.ts';
import { ROOT } from '../workers/runtime.ts';
import { QUEUES, SCHEMA, type Submission, streamWorkflowId, taskWorkflowId } from '../workflows/contract.ts';

const { values } = parseArgs({
  options: {
    tasks: { type: 'string', default: 'digit,class,open' },
    json: { type: 'boolean', default: false },
    out: { type: 'string', default: join(ROOT, 'bench/results/pipeline.json') },
  },
});
const tasks = values.tasks.split(',');
const STREAM = 'bench';
const servers = await TestServers.start();

type History = Awaited<ReturnType<ReturnType<typeof servers.client.workflow.getHandle>['fetchHistory']>>;

/** Milliseconds since the epoch of an event. */
const at = (event: { eventTime?: { seconds?: unknown; nanos?: number | null } | null }) =>
  Number(event.eventTime!.seconds) * 1000 + (event.eventTime!.nanos ?? 0) / 1e6;

/** Sizes of all payloads in an event, wherever they stand. */
function payloads(value: unknown): number[] {
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return [];
  const { data, metadata } = value as { data?: unknown; metadata?: unknown };
  if (data instanceof Uint8Array && metadata) return [data.length];
  return Object.values(value).flatMap(payloads);
}

function costs(task: string, { events }: History) {
  const seconds: Record<string, number> = {};
  const spans: Array<[number, number]> = [];
  const scheduled = new Map<string, string>();
  const started = new Map<string, number>();
  for (const event of events!) {
    const closed = event.activityTaskCompletedEventAttributes ?? event.activityTaskFailedEventAttributes;
    if (event.activityTaskScheduledEventAttributes)
      scheduled.set(String(event.eventId), event.activityTaskScheduledEventAttributes.activityType!.name!);
    if (event.activityTaskStartedEventAttributes)
      started.set(String(event.activityTaskStartedEventAttributes.scheduledEventId), at(event));
    if (!closed) continue;
    const id = String(closed.scheduledEventId);
    const name = scheduled.get(id)!;
    seconds[name] = (seconds[name] ?? 0) + (at(event) - started.get(id)!) / 1000;
    spans.push([started.get(id)!, at(event)]);
  }
  const total = (at(events!.at(-1)!) - at(events![0]!)) / 1000;
  let [busy, end] = [0, 0];
  for (const [from, to] of spans.sort((a, b) => a[0] - b[0])) {
    busy += Math.max(0, to - Math.max(from, end));
    end = Math.max(end, to);
  }
  return {
    task,
    total,
    seconds,
    outside: total - busy / 1000,
    events: events!.length,
    largestPayload: Math.max(...events!.flatMap(payloads)),
  };
}

try {
  const made = await makeDatasets(join(servers.folder, 'datasets'), { names: tasks });
  const started = Date.now();
  await uploadFolder(join(ROOT, 'examples/base-model'), 's3://lilora-test/model');
  for (const [task, folder] of Object.entries(made)) await uploadFolder(folder, `s3://lilora-test/datasets/${task}`);
  const uploading = (Date.now() - started) / 1000;
  await Promise.all([servers.worker('orchestrator'), servers.worker('gpu')]);
  const stream = await servers.client.workflow.start('stream', {
    workflowId: streamWorkflowId(STREAM),
    taskQueue: QUEUES.orchestrator,
    args: [{ schema: SCHEMA, definition: { name: STREAM, model: 's3://lilora-test/model' } }],
  });
  const rows = [];
  for (const task of tasks) {
    await stream.executeUpdate<Submission, [object]>('submitTask', {
      args: [{ dataset: `s3://lilora-test/datasets/${task}` }],
    });
    const child = servers.client.workflow.getHandle(taskWorkflowId(STREAM, task));
    await new Promise((resolve) => setTimeout(resolve, 500));
    await child.result();
    rows.push(costs(task, await child.fetchHistory()));
  }
  const result = { uploading, tasks: rows, stream: { events: (await stream.fetchHistory()).events!.length } };
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
    values.json ? `${JSON.stringify(result)}\n` : `${table([head, ...lines])}\nuploading: ${uploading.toFixed(1)} s\n`,
  );
} finally {
  await servers.stop();
}
