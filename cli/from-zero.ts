import { type Client, defaultPayloadConverter } from '@temporalio/client';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';
import { billedSeconds, type Lease, readLeases, workerCounts } from '../store/leases.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { type Progress, SIGNALS, taskWorkflowId } from '../workflows/contract.ts';

/** What gpu workers that start from zero did for some tasks of a stream. */
export interface FromZero {
  /** How many gpu workers lived, from so many seconds after the first submission on. */
  readonly workers: ReadonlyArray<{ readonly seconds: number; readonly count: number }>;
  /** Seconds from submission to the end of the first training step; null where none was trained. */
  readonly firstStepSeconds: Readonly<Record<string, number | null>>;
  readonly gpuSeconds: { readonly billed: number; readonly useful: number };
  /** How all of that was measured. */
  readonly measured: string;
}

const MEASURED =
  'workers, billed: lives of the worker processes by their leases in the store (workers/), from process start to end; ' +
  'useful: time from start to end of the last attempt of every gpu activity, by the histories in Temporal; ' +
  'first step: from the call of the submission to the first progress signal with a step in the history';

/** Time to wait for the last worker to leave, beyond its idle time, in milliseconds. */
const LEAVING = 30_000;

/** A gpu queue, and how many of its workers the machine sees: one that still loads has no lease yet. */
export interface GpuQueue {
  readonly queue: string;
  living(): number;
}

/**
 * Waits until no gpu worker is left and tells what they did.
 * @param submitted when each task was submitted, in milliseconds of the epoch, in this order
 */
export async function measureFromZero(
  client: Client,
  store: ObjectStore,
  gpu: GpuQueue,
  stream: string,
  submitted: ReadonlyMap<string, number>,
): Promise<FromZero> {
  const start = Math.min(...submitted.values());
  const leases = await untilNoneLives(store, gpu, start);
  const seconds = (at: number) => Math.round(at - start) / 1000;
  const firstStepSeconds: Record<string, number | null> = {};
  let useful = 0;
  for (const [task, at] of submitted) {
    const { events } = await client.workflow.getHandle(taskWorkflowId(stream, task)).fetchHistory();
    const { firstStep, gpuSeconds } = readHistory(events ?? [], gpu.queue);
    firstStepSeconds[task] = firstStep === null ? null : Math.round(firstStep - at) / 1000;
    useful += gpuSeconds;
  }
  return {
    workers: [
      { seconds: 0, count: 0 },
      ...workerCounts(leases).map(({ at, workers }) => ({ seconds: seconds(Date.parse(at)), count: workers })),
    ],
    firstStepSeconds,
    gpuSeconds: { billed: round(leases.reduce((sum, lease) => sum + billedSeconds(lease), 0)), useful: round(useful) },
    measured: MEASURED,
  };
}

/** Leases that began after `start`, once all are closed. A killed worker counts as gone after three missed refreshes. */
async function untilNoneLives(store: ObjectStore, gpu: GpuQueue, start: number): Promise<Lease[]> {
  const end = Date.now() + DEFAULTS['worker.idleExitSeconds'].value * 1000 + LEAVING;
  for (;;) {
    const leases = (await readLeases(store, gpu.queue)).filter(({ startedAt }) => Date.parse(startedAt) >= start);
    const silent = Date.now() - 3 * DEFAULTS['worker.leaseSeconds'].value * 1000;
    const ended = leases.every(({ endedAt, lastSeenAt }) => endedAt !== null || Date.parse(lastSeenAt) < silent);
    if (ended && gpu.living() === 0) return leases;
    if (Date.now() > end)
      throw new LiloraError('EngineLost', `A gpu worker on ${gpu.queue} does not end although it has nothing to do.`);
    await new Promise((wake) => setTimeout(wake, 500));
  }
}

type Events = NonNullable<Awaited<ReturnType<ReturnType<Client['workflow']['getHandle']>['fetchHistory']>>['events']>;

/** When the first step was reported, and how long activities of the queue ran. */
function readHistory(events: Events, queue: string): { firstStep: number | null; gpuSeconds: number } {
  const scheduled = new Set<string>();
  const started = new Map<string, number>();
  let firstStep: number | null = null;
  let gpuSeconds = 0;
  for (const event of events) {
    const at = Number(event.eventTime?.seconds ?? 0) * 1000 + (event.eventTime?.nanos ?? 0) / 1e6;
    const signal = event.workflowExecutionSignaledEventAttributes;
    if (signal?.signalName === SIGNALS.progress) {
      const { step } = defaultPayloadConverter.fromPayload<Progress>(signal.input!.payloads![0]!);
      if (step > 0) firstStep ??= at;
    }
    if (event.activityTaskScheduledEventAttributes?.taskQueue?.name === queue) scheduled.add(String(event.eventId));
    const begun = event.activityTaskStartedEventAttributes;
    if (begun) started.set(String(begun.scheduledEventId), at);
    const { scheduledEventId } =
      event.activityTaskCompletedEventAttributes ??
      event.activityTaskFailedEventAttributes ??
      event.activityTaskTimedOutEventAttributes ??
      event.activityTaskCanceledEventAttributes ??
      {};
    const id = String(scheduledEventId);
    if (scheduled.has(id) && started.has(id)) gpuSeconds += (at - started.get(id)!) / 1000;
  }
  return { firstStep, gpuSeconds };
}

const round = (seconds: number) => Math.round(seconds * 1000) / 1000;
