import type { Priority } from '@temporalio/common';
import { type ActivityOptions, proxyActivities } from '@temporalio/workflow';
import type { DataActivities } from '../activities/data.ts';
import type { GpuActivities } from '../activities/gpu.ts';
import type { LauncherActivities } from '../activities/launcher.ts';
import type { UpkeepActivities } from '../activities/upkeep.ts';
import { NON_RETRYABLE } from '../core/errors.ts';
import { QUEUES, type ResolvedStream } from './contract.ts';
import { metered } from './usage.ts';

/** Retry policies by name. What no retry can cure is named in the closed set of errors. */
export const RETRY = {
  /** Store and network trouble: quick at first, about ten minutes in all. */
  data: {
    initialInterval: '1s',
    backoffCoefficient: 2,
    maximumInterval: '1m',
    maximumAttempts: 15,
    nonRetryableErrorTypes: NON_RETRYABLE,
  },
  /** Lost GPU workers: every attempt goes on from the last checkpoint, so many are cheap. */
  gpu: {
    initialInterval: '1s',
    backoffCoefficient: 2,
    maximumInterval: '30s',
    maximumAttempts: 30,
    nonRetryableErrorTypes: NON_RETRYABLE,
  },
  /** Looking at what others do: as long as whoever looks lives, so without an end of its own. */
  watch: {
    initialInterval: '1s',
    backoffCoefficient: 2,
    maximumInterval: '1m',
    maximumAttempts: Number.POSITIVE_INFINITY,
    nonRetryableErrorTypes: NON_RETRYABLE,
  },
  /** Requests to a compute platform: about five minutes, then a fresh look at the demand. */
  platform: {
    initialInterval: '2s',
    backoffCoefficient: 2,
    maximumInterval: '1m',
    maximumAttempts: 8,
    nonRetryableErrorTypes: NON_RETRYABLE,
  },
} satisfies Record<string, ActivityOptions['retry']>;

/** Activities that need the store but no GPU. */
export const data = metered(
  proxyActivities<DataActivities>({
    taskQueue: QUEUES.data,
    startToCloseTimeout: '2h',
    heartbeatTimeout: '2m',
    retry: RETRY.data,
  }),
  { queue: QUEUES.data, gpu: false },
);

/** Activities of what schedules start. They beat every ten seconds: a stream waits for the one that compacts it. */
export const upkeep = proxyActivities<UpkeepActivities>({
  taskQueue: QUEUES.data,
  startToCloseTimeout: '2h',
  heartbeatTimeout: '30s',
  retry: RETRY.data,
});

/** Waits until a GPU task queue lacks a worker. */
export const { awaitDemand } = proxyActivities<LauncherActivities>({
  taskQueue: QUEUES.data,
  startToCloseTimeout: '2h',
  heartbeatTimeout: '1m',
  retry: RETRY.watch,
});

/** Asks a compute platform for one worker. */
export const { launchWorker } = proxyActivities<LauncherActivities>({
  taskQueue: QUEUES.data,
  startToCloseTimeout: '2m',
  retry: RETRY.platform,
});

/** Learning goes before work that nobody waits for, such as evaluating a stream again on a schedule; 3 is the server's default. */
const PRIORITY = { learning: 3, background: 4 } as const;

/** Place of a stream's work among that of others which wait for the same workers. */
export function priorityOf({ name, fairness }: ResolvedStream, work: keyof typeof PRIORITY = 'learning'): Priority {
  return { priorityKey: PRIORITY[work], fairnessKey: fairness?.key ?? name, fairnessWeight: fairness?.weight ?? 1 };
}

/**
 * Activities that need the engine, on the stream's GPU class or on another task queue. They wait for a worker as long as
 * it takes.
 */
export function gpuActivities(stream: ResolvedStream, queue = stream.gpuQueue, priority = priorityOf(stream)) {
  return metered(
    proxyActivities<GpuActivities>({
      taskQueue: queue,
      startToCloseTimeout: `${stream.limits.trainHours}h`,
      heartbeatTimeout: `${stream.limits.heartbeatSeconds}s`,
      retry: RETRY.gpu,
      cancellationType: 'WAIT_CANCELLATION_COMPLETED',
      priority,
    }),
    { queue, gpu: true },
  );
}
