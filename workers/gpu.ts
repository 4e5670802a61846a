import { Worker } from '@temporalio/worker';
import type { GpuContext } from '../activities/context.ts';
import { namedFailures } from '../activities/failures.ts';
import { createGpuActivities } from '../activities/gpu.ts';
import { DEFAULTS } from '../core/defaults.ts';
import { QUEUES } from '../workflows/contract.ts';
import { connectWorker, type Settings } from './config.ts';
import { EngineProcess } from './engine/handle.ts';
import { startRuntime, untilStopped } from './runtime.ts';
import { protectFromScaleIn } from './scale-in.ts';
import { dataContext } from './stores.ts';

export interface GpuWorkerOptions {
  /** Task queue of this GPU class. */
  readonly queue?: string;
  /** End after this many seconds without work: for platforms that bill by the second. */
  readonly idleExitSeconds?: number;
  readonly signal?: AbortSignal;
}

/** Runs GPU activities, one at a time on one engine, until stopped or idle for long enough. */
export async function runGpuWorker(settings: Settings, options: GpuWorkerOptions = {}): Promise<void> {
  const log = startRuntime('gpu');
  const engine = new EngineProcess(log);
  const connection = await connectWorker(settings);
  try {
    engine
      .start()
      .catch((error) => log.error({ error: error.message }, 'engine did not start; the first job tries again'));
    const idle = idleWatch(options.idleExitSeconds);
    const stop = new AbortController();
    const context: GpuContext = { ...(await dataContext(settings)), engine, stopping: stop.signal };
    const worker = await Worker.create({
      connection,
      namespace: settings.namespace,
      taskQueue: options.queue ?? QUEUES.gpu,
      activities: idle.watch(createGpuActivities(context)),
      interceptors: { activity: [namedFailures, protectFromScaleIn(log)] },
      maxConcurrentActivityTaskExecutions: 1,
      maxHeartbeatThrottleInterval: '2s', // people watch progress by heartbeats; the default may hold one back for 48 s
      shutdownGraceTime: `${DEFAULTS['worker.shutdownGraceSeconds'].value}s`,
    });
    void Promise.race([untilStopped(options.signal), idle.reached]).then((why) => {
      log.info({ why }, 'gpu worker stops');
      stop.abort();
      if (worker.getState() === 'RUNNING') worker.shutdown();
    });
    log.info({ queue: options.queue ?? QUEUES.gpu, store: settings.store }, 'gpu worker ready');
    await worker.run();
  } finally {
    await engine.close();
    await connection.close();
  }
}

/** Wraps activities to learn when the last one ended. */
function idleWatch(seconds: number | undefined) {
  let timer: NodeJS.Timeout | undefined;
  let running = 0;
  let reach: (why: string) => void = () => {};
  const reached = new Promise<string>((resolve) => {
    reach = resolve;
  });
  const arm = () => {
    if (seconds !== undefined) timer = setTimeout(() => reach(`idle for ${seconds} s`), seconds * 1000);
  };
  arm();
  return {
    reached,
    watch<Activities extends Record<string, (input: never) => Promise<unknown>>>(activities: Activities): Activities {
      const watched = Object.entries(activities).map(([name, run]) => [
        name,
        async (input: never) => {
          running++;
          clearTimeout(timer);
          try {
            return await run(input);
          } finally {
            if (--running === 0) arm();
          }
        },
      ]);
      return Object.fromEntries(watched) as Activities;
    },
  };
}
