import { totalmem } from 'node:os';
import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import { modelMemory } from '../../learning/model/memory.ts';
import type { LoadOptions, ModelDefinition } from '../../learning/model/registry.ts';

/* Settings of the engine process, from the environment of its worker. */

/** `LILORA_THREADS`: threads on the CPU (`lanes`). Runs are bit-equal only with the same number. */
export function threadsWanted(env: NodeJS.ProcessEnv = process.env): number | undefined {
  const text = env['LILORA_THREADS'];
  if (text === undefined || text === '') return undefined;
  const threads = Number(text);
  if (Number.isInteger(threads) && threads > 0) return threads;
  throw new LiloraError('BadConfig', `LILORA_THREADS is "${text}". Give a whole number above 0, or leave it out.`);
}

/** `LILORA_FEATURES_GIB` in bytes: what features of all models may take on this disk. 0: none are kept. */
export function featuresLimit(env: NodeJS.ProcessEnv = process.env): number {
  return bytesOf('LILORA_FEATURES_GIB', env) ?? DEFAULTS['worker.featuresGib'].value * 2 ** 30;
}

/** `LILORA_FEATURES_MEMORY_GIB` in bytes: what features may take in memory. */
export function featuresMemory(env: NodeJS.ProcessEnv = process.env, memory: number = machineMemory()): number {
  return bytesOf('LILORA_FEATURES_MEMORY_GIB', env) ?? DEFAULTS['worker.featuresShare'].value * memory;
}

/** GiB from the environment, in bytes. */
function bytesOf(name: string, env: NodeJS.ProcessEnv): number | undefined {
  const text = env[name] ?? '';
  if (text === '') return undefined;
  if (Number(text) >= 0) return Number(text) * 2 ** 30;
  throw new LiloraError('BadConfig', `${name} is "${text}". Give a number of GiB, or 0 to keep none.`);
}

/** Bytes of this machine, or of its container. */
const machineMemory = () => Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);

/**
 * `LILORA_WEIGHTS`: how weights of 16 bits are kept. `auto`, the default, widens them to float32 where that leaves room
 * in this machine's (or container's) memory.
 */
export function weightsWanted(
  definition: ModelDefinition,
  env: NodeJS.ProcessEnv = process.env,
  memory: number = machineMemory(),
): NonNullable<LoadOptions['weights']> {
  const text = env['LILORA_WEIGHTS'] || 'auto';
  if (text === 'float32' || text === 'stored') return text;
  if (text === 'auto')
    return modelMemory(definition).weights > DEFAULTS['worker.weightsShare'].value * memory ? 'stored' : 'float32';
  throw new LiloraError('BadConfig', `LILORA_WEIGHTS is "${text}". Choose from float32, stored and auto.`);
}
