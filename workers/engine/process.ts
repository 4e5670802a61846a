import { isLiloraError } from '../../core/errors.ts';
import { isOutOfMemory } from '../../learning/tensors/backend.ts';
import { Jobs } from './jobs.ts';
import type { FromEngine, ToEngine } from './protocol.ts';

/**
 * The engine process: owns every tensor (and the GPU), keeps the base model warm, runs one job at a time. Started by
 * `EngineProcess`, ends with its parent. All it knows comes by message; all it makes is files.
 */
const send = (message: FromEngine) => new Promise<void>((sent) => process.send!(message, () => sent()));

process.on('disconnect', () => process.exit(0)); // the worker died: nobody can use our results
process.on('SIGINT', () => {}); // Ctrl-C reaches the whole group; the worker decides when we end
process.on('SIGTERM', () => {});

const jobs = await Jobs.open();
let stop: AbortController | null = null;
let acknowledge: ((error?: string) => void) | null = null;

process.on('message', (message: ToEngine) => {
  if (message.type === 'stop') stop?.abort();
  else if (message.type === 'checkpointed') acknowledge?.(message.error);
  else void run(message);
});

async function run({ id, kind, job }: Extract<ToEngine, { type: 'run' }>): Promise<void> {
  stop = new AbortController();
  try {
    const result = await jobs.run(kind, job, {
      signal: stop.signal,
      onProgress: (progress) => void send({ type: 'progress', id, progress }),
      onWork: (working) => void send({ type: 'work', id, working }),
      onCheckpoint: (path, step) =>
        new Promise((stored, failed) => {
          acknowledge = (error) => (error === undefined ? stored() : failed(new Error(error)));
          void send({ type: 'checkpoint', id, path, step });
        }),
    });
    await send({ type: 'done', id, result });
  } catch (error) {
    const name = isLiloraError(error) ? error.name : isOutOfMemory(error) ? 'OutOfMemory' : 'Error';
    const message =
      error instanceof Error ? (name === 'Error' ? (error.stack ?? error.message) : error.message) : String(error);
    await send({ type: 'failed', id, error: { name, message } });
  }
}

await send({ type: 'ready', info: jobs.info });
