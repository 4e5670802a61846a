import type { NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import type { GpuContext } from '../activities/context.ts';
import type { Engine } from '../activities/engine.ts';
import { namedFailures } from '../activities/failures.ts';
import { createGpuActivities } from '../activities/gpu.ts';
import { WorkerLife } from '../activities/metering.ts';
import { QUEUES } from '../workflows/contract.ts';
import { connectWorker, type Settings } from './config.ts';
import { holdLease } from './lease.ts';
import { runUntilIdle } from './run-until-idle.ts';
import { startRuntime, untilStopped } from './runtime.ts';
import { protectFromScaleIn } from './scale-in.ts';
import { dataContext } from './stores.ts';
import { Work } from './work.ts';

export interface GpuQueueOptions {
  /** Task queue of this GPU class. */
  readonly queue?: string;
  /** End after this many seconds without work: for platforms that bill by the second. */
  readonly idleExitSeconds?: number;
  /** End when not one task came so soon after the start. */
  readonly firstTaskSeconds?: number;
  /**
   * Worker Deployment that this process belongs to: it gets the tasks of its version only. Without one it is an ordinary
   * worker that gets what no version claims.
   */
  readonly deployment?: { readonly name: string; readonly buildId?: string };
  readonly signal?: AbortSignal;
}

/** Takes tasks of a gpu queue and does them on the engine. */
export async function pollGpuQueue(
  settings: Settings,
  engine: Engine,
  log: Logger,
  options: GpuQueueOptions,
): Promise<void> {
  startRuntime(log);
  const queue = options.queue ?? QUEUES.gpu;
  const worker = WorkerLife.id;
  const data = await dataContext(settings);
  const work = new Work();
  const holder = { worker, queue, busySeconds: () => work.busySeconds, workedUntil: () => work.workedUntil };
  const lease = holdLease(data.store, holder, log);
  const stopping = new AbortController();
  void untilStopped(options.signal).then((why) => {
    log.info({ why }, 'gpu worker stops');
    stopping.abort();
  });
  const context: GpuContext = { ...data, engine, stopping: stopping.signal };
  const version = options.deployment && {
    deploymentName: options.deployment.name,
    buildId: options.deployment.buildId ?? data.codeVersion,
  };
  let connection: NativeConnection | undefined;
  try {
    connection = await connectWorker(settings);
    log.info({ queue, store: settings.store, worker, ...version }, 'gpu worker ready');
    await runUntilIdle(
      {
        connection,
        namespace: settings.namespace,
        taskQueue: queue,
        identity: worker,
        activities: work.watch(createGpuActivities(context)),
        interceptors: { activity: [namedFailures, protectFromScaleIn(log)] },
        maxConcurrentActivityTaskExecutions: 1,
        maxHeartbeatThrottleInterval: '2s', // people watch progress by heartbeats; the default may hold one back for 48 s
        shutdownGraceTime: '1000d', // `stopping` ends activities when the process must go; else they are done to their end
        ...(version && {
          // The behavior is asked for, and without meaning: activities are never pinned.
          workerDeploymentOptions: { version, useWorkerVersioning: true, defaultVersioningBehavior: 'AUTO_UPGRADE' },
        }),
      },
      { ...options, work, stopping: stopping.signal },
      log,
    );
  } finally {
    await Promise.all([lease.close(), connection?.close()]);
  }
}
