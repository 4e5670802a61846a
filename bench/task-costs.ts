import type { Client } from '@temporalio/client';
import { readLines } from '../activities/json-lines.ts';
import type { TaskLineage } from '../activities/publish-bank.ts';
import type { StepProgress } from '../learning/training/options.ts';
import { readGeneration } from '../store/generations.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { type Submission, streamWorkflowId, taskWorkflowId } from '../workflows/contract.ts';

/* What tasks cost beside the learning, from histories that the server stored. Seconds. */

type History = Awaited<ReturnType<ReturnType<Client['workflow']['getHandle']>['fetchHistory']>>;

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

/** What one task took, read from the stored history of its workflow. */
export interface TaskCosts {
  readonly task: string;
  readonly total: number;
  /** By activity, added up over those that ran side by side. */
  readonly seconds: Readonly<Record<string, number>>;
  /** In which no activity ran. */
  readonly outside: number;
  readonly events: number;
  /** Bytes. */
  readonly largestPayload: number;
}

export function taskCosts(task: string, { events }: History): TaskCosts {
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

/** Submits a dataset to a stream and waits until it is learned. Whatever is not published is an error. */
export async function learnedCosts(client: Client, stream: string, dataset: string, task: string): Promise<TaskCosts> {
  const { workflow } = client;
  await workflow
    .getHandle(streamWorkflowId(stream))
    .executeUpdate<Submission, [object]>('submitTask', { args: [{ dataset, task }] });
  const child = workflow.getHandle(taskWorkflowId(stream, task));
  await new Promise((resolve) => setTimeout(resolve, 500));
  const { outcome, reason } = (await child.result()) as { outcome: string; reason?: string };
  if (outcome !== 'published') throw new Error(`${task} was ${outcome}: ${reason}`);
  return taskCosts(task, await child.fetchHistory());
}

/** Every step of the training of the newest task of a generation. */
export async function trainingSteps(store: ObjectStore, stream: string, generation: number): Promise<StepProgress[]> {
  const { manifest } = await readGeneration(store, stream, generation);
  const { metrics } = (manifest.lineage['tasks'] as TaskLineage[]).at(-1)!;
  return readLines<StepProgress>({ store }, metrics);
}
