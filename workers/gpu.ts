import type { Settings } from './config.ts';
import { EngineProcess } from './engine/handle.ts';
import type { GpuQueueOptions } from './gpu-queue.ts';
import { startLog } from './log.ts';

/**
 * Runs GPU activities, one at a time on one engine, until stopped or idle for long enough. The engine starts first, and
 * its process loads TensorFlow while this one loads everything else: that halves a cold start. So nothing heavy is
 * imported above.
 */
export async function runGpuWorker(settings: () => Promise<Settings>, options: GpuQueueOptions = {}): Promise<void> {
  const log = startLog('gpu');
  const engine = new EngineProcess(log);
  engine
    .start()
    .catch((error) => log.error({ error: error.message }, 'engine did not start; the first job tries again'));
  try {
    const [{ pollGpuQueue }, found] = await Promise.all([import('./gpu-queue.ts'), settings()]);
    await pollGpuQueue(found, engine, log, options);
  } finally {
    await engine.close();
  }
}
