import { Worker, type WorkerOptions } from '@temporalio/worker';
import type { Logger } from 'pino';
import type { Work } from './work.ts';

export interface UntilIdle {
  /** Of the activities in `options`. */
  readonly work: Work;
  /** Aborted when the process must go. */
  readonly stopping: AbortSignal;
  /** Ends after so many seconds without work. */
  readonly idleExitSeconds?: number;
  /** Ends when not one task came so soon: another worker was faster. */
  readonly firstTaskSeconds?: number;
}

/**
 * Polls until the process must go or has had nothing to do for long enough. An idle exit never drops a task that was
 * just dispatched: the server ends the open poll, and what came with it is done to its end. Then the worker stays: there
 * is work again. That needs `frontend.enableCancelWorkerPollsOnShutdown` and one partition of the queue; elsewhere a
 * task that is dispatched in the very instant of the exit waits for its heartbeat timeout, and is then given out again.
 */
export async function runUntilIdle(options: WorkerOptions, until: UntilIdle, log: Logger): Promise<void> {
  const { work, stopping, idleExitSeconds, firstTaskSeconds } = until;
  const stopped = new Promise((resolve) => stopping.addEventListener('abort', resolve, { once: true }));
  while (!stopping.aborted) {
    const worker = await Worker.create(options);
    const running = worker.run();
    await Promise.race([running, stopped, work.idleFor(idleExitSeconds), work.unusedFor(firstTaskSeconds)]);
    const begun = work.begun;
    if (worker.getState() === 'RUNNING') worker.shutdown();
    await running;
    if (stopping.aborted) return;
    if (work.begun === begun) {
      log.info({ tasks: begun }, 'gpu worker ends: nothing to do');
      return;
    }
    log.info('a task came with the last poll: the gpu worker stays');
  }
}
