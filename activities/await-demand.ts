import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { isGrpcServiceError } from '@temporalio/client';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';
import type { Demand, Launch } from '../workflows/launcher-contract.ts';
import { beat } from './context.ts';
import type { Launcher } from './platforms.ts';

/** A worker asks for work at least once a minute while it has a free place. */
const POLL_FRESH_MS = 70_000;
/** Looks of one activity; then the workflow starts another, so that no attempt grows old. */
const LOOK_MS = 60 * 60_000;
const ACTIVITY_QUEUE = 2; // temporal.api.enums.v1.TaskQueueType
const UNIMPLEMENTED = 12; // gRPC
const RUNNING = 1; // temporal.api.enums.v1.WorkerStatus

/** A GPU task queue at one moment. */
export interface QueueView {
  /** Tasks that no worker has taken. */
  readonly backlog: number;
  /** Workers alive, busy ones included, and since when, in milliseconds of the epoch. */
  readonly workers: ReadonlyArray<{ readonly identity: string; readonly since: number }>;
}

/** Waits until the queue has lacked a worker for two looks in a row. Heartbeats each look; answers after an hour at the latest. */
export async function awaitDemand(
  launcher: Launcher | undefined,
  input: { queue: string; pending: readonly Launch[] },
): Promise<Demand> {
  let { pending } = input;
  if (!launcher) return { verdict: 'closed', backlog: 0, workers: 0, pending };
  const end = Date.now() + LOOK_MS;
  let lacked = false;
  for (;;) {
    const view = await lookAt(input.queue);
    const now = Date.now();
    pending = stillPending(view, pending, launcher.startSeconds, now);
    const lacks = missingWorkers(view, pending, launcher.maxWorkers) > 0;
    const found = { backlog: view.backlog, workers: view.workers.length, pending };
    if (lacks && lacked) return { ...found, verdict: 'launch' };
    if (now > end) return { ...found, verdict: 'none' };
    lacked = lacks;
    beat(found);
    await sleep(launcher.pollSeconds * 1000, undefined, { signal: Context.current().cancellationSignal });
  }
}

/** How many workers to ask for now: one for each waiting task, within the limit, less those on their way. */
export function missingWorkers(view: QueueView, pending: readonly Launch[], maxWorkers: number): number {
  return Math.min(view.backlog, maxWorkers - view.workers.length) - pending.length;
}

/** Launches whose worker has not been seen yet and that are not given up. */
export function stillPending(
  view: QueueView,
  pending: readonly Launch[],
  startSeconds: number,
  now: number,
): readonly Launch[] {
  const fresh = pending.filter((at) => now - at < startSeconds * 1000).sort((a, b) => a - b);
  const oldest = fresh[0];
  if (oldest === undefined) return fresh;
  const arrived = view.workers.filter(({ since }) => since >= oldest - 1000).length;
  return fresh.slice(arrived);
}

/** Asks Temporal: backlog and polls tell of idle workers, the workers' own heartbeats of busy ones. */
export async function lookAt(queue: string): Promise<QueueView> {
  const { client, info } = Context.current();
  const { workflowService } = client.connection;
  const namespace = info.workflowNamespace ?? client.options.namespace;
  const [queueNow, listed] = await Promise.all([
    workflowService.describeTaskQueue({
      namespace,
      taskQueue: { name: queue },
      taskQueueType: ACTIVITY_QUEUE,
      reportStats: true,
    }),
    workflowService.listWorkers({ namespace, query: `TaskQueue = "${queue}"` }).catch(explain),
  ]);
  const now = Date.now();
  const beatMs = DEFAULTS['worker.heartbeatSeconds'].value * 3000;
  const heard = (listed.workersInfo ?? []).flatMap(({ workerHeartbeat: worker }) => {
    if (!worker) return [];
    const fresh = now - milliseconds(worker.heartbeatTime) < beatMs;
    return [
      {
        identity: worker.workerIdentity ?? '',
        alive: fresh && worker.status === RUNNING,
        since: milliseconds(worker.startTime),
      },
    ];
  });
  const polling = (queueNow.pollers ?? []).filter(
    ({ identity, lastAccessTime }) =>
      now - milliseconds(lastAccessTime) < POLL_FRESH_MS && !heard.some((worker) => worker.identity === identity),
  );
  return {
    backlog: Number(queueNow.stats?.approximateBacklogCount ?? 0),
    workers: [
      ...heard.filter(({ alive }) => alive).map(({ identity, since }) => ({ identity, since })),
      ...polling.map(({ identity, lastAccessTime }) => ({
        identity: identity ?? '',
        // Its first heartbeat is still to come, so its first poll was a moment ago.
        since: milliseconds(lastAccessTime),
      })),
    ],
  };
}

function explain(error: unknown): never {
  if (isGrpcServiceError(error) && error.code === UNIMPLEMENTED)
    throw new LiloraError(
      'BadConfig',
      'This Temporal server does not list workers, so busy ones could not be told from missing ones: the launcher needs server 1.29 or later.',
      { cause: error },
    );
  throw error;
}

/** A protobuf timestamp; 0 when absent. */
function milliseconds(time: { seconds?: unknown; nanos?: number | null } | null | undefined): number {
  return time ? Number(time.seconds ?? 0) * 1000 + (time.nanos ?? 0) / 1e6 : 0;
}
