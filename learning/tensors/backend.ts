import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';

export type EngineName = 'tensorflow' | 'cpu';

/** Which engine computes, and why this one. Recorded with every run. */
export interface Engine {
  /** `tensorflow`: the native library. `cpu`: plain JavaScript, for tests and where the addon is missing. */
  readonly name: EngineName;
  readonly device: 'gpu' | 'cpu';
  /** Of TensorFlow.js, and of TensorFlow where it computes. */
  readonly version: string;
  readonly why: string;
}

export interface EngineOptions {
  /**
   * Threads on the CPU, shared out among lanes (`lanes`). Default: as many as there are cores. Another number sums in another
   * order, so a run ends bit-equal only with the same number.
   */
  readonly threads?: number;
}

/** More lanes than this make graphs large; further threads work within the operations of a lane. */
const MOST_LANES = 4;

const require = createRequire(import.meta.url);
/** Lanes of the addon; it takes its settings once. */
let cut = 1;
let addon: { engine?: Engine; problem?: string } | undefined;

/**
 * Starts the best engine that works here, or exactly the one asked for (`BadConfig` when it does not start). Safe to
 * call again: to ask which engine runs, or to change it, when no tensors are alive. Call it before anything else
 * computes: TensorFlow reads its settings from the environment once, when its library is loaded.
 */
export async function startTensors(prefer?: EngineName, options: EngineOptions = {}): Promise<Engine> {
  // No advice about other packages on the output of this one.
  tf.env().set('PROD', true);
  if (prefer !== 'cpu') {
    addon ??= loadAddon(options);
    if (addon.engine) {
      await tf.setBackend('tensorflow');
      return addon.engine;
    }
    if (prefer === 'tensorflow') {
      const next = 'Run `npm run setup`, which builds the addon, or choose the engine `cpu`';
      throw new LiloraError('BadConfig', `The TensorFlow addon does not start: ${addon.problem}. ${next}.`);
    }
  }
  await tf.setBackend('cpu');
  const why = prefer === 'cpu' ? 'asked for' : `the TensorFlow addon does not start: ${addon?.problem}`;
  return { name: 'cpu', device: 'cpu', version: `tfjs ${tf.version_core}`, why };
}

/**
 * Into how many parts a batch is cut that one graph computes side by side, each lane on threads of its own. An operation on
 * several threads waits for the slowest of them every time, which small ones do not repay. 1 where graphs do not compute
 * (other engines) or the device shares out the work itself (a GPU).
 */
export function lanes(): number {
  return tf.getBackend() === 'tensorflow' && addon?.engine?.device === 'cpu' ? cut : 1;
}

/** Consecutive parts of like size, one for each lane: no more than there are items. */
export function laneParts<T>(items: readonly T[]): T[][] {
  const count = Math.min(lanes(), items.length);
  const start = (part: number) => Math.ceil((part * items.length) / count);
  return Array.from({ length: count }, (_, part) => items.slice(start(part), start(part + 1)));
}

function loadAddon({ threads = availableParallelism() }: EngineOptions): { engine?: Engine; problem?: string } {
  cut = Math.min(threads, MOST_LANES);
  setEnvironment(threads);
  const compat = fileURLToPath(new URL('../../infra/setup/node-compat.cjs', import.meta.url));
  try {
    // Node 23 dropped functions of `util` that the addon's JavaScript calls.
    if (Number(process.versions.node.split('.')[0]) >= 23 && existsSync(compat)) require(compat);
    require('@tensorflow/tfjs-node-gpu');
    const backend = tf.findBackend('tensorflow') as unknown as NativeBackend | null;
    if (!backend) return { problem: 'it registered no back end' };
    const device = backend.isUsingGpuDevice ? 'gpu' : 'cpu';
    const version = `tfjs ${tf.version_core}, TensorFlow ${backend.binding.TF_Version}`;
    const why = device === 'gpu' ? 'the addon found a GPU' : 'the addon is there, but no GPU that it can use';
    return { engine: { name: 'tensorflow', device, version, why } };
  } catch (error) {
    return {
      problem: String((error as Error).message)
        .split('\n')[0]!
        .trim(),
    };
  }
}

/** Whether memory did not hold what was to be computed: TensorFlow says so in words only. */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof Error && /OOM|out of memory|ResourceExhausted|RESOURCE_EXHAUSTED/.test(error.message);
}

interface NativeBackend {
  readonly isUsingGpuDevice: boolean;
  readonly binding: { readonly TF_Version: string };
}

/** Settings that TensorFlow reads when it is loaded; what the user has set stays. */
function setEnvironment(threads: number): void {
  const settings: Record<string, string> = {
    // Errors only: the start-up notices say nothing that `device` does not say.
    TF_CPP_MIN_LOG_LEVEL: '2',
    // oneDNN, as TensorFlow has it by default on x64. Our graphs are faster with it: a training step by 8 to 28 % (widths
    // 128 and 384, one and two cores), a generated token at width 384 by 44 to 48 %; at width 128 on two cores a token is
    // slower by 40 to 69 % (`npm run bench:step`, one run with 0 and one with 1). A graph of unfused operations was seen to run 6 times slower with it; its cause
    // was not found, so measure when operations change. Training is bit-equal from run to run either way.
    TF_ENABLE_ONEDNN_OPTS: '1',
    // Otherwise the first process on a GPU takes all of its memory.
    TF_FORCE_GPU_ALLOW_GROWTH: 'true',
    // Operations side by side, and threads within one.
    TF_NUM_INTEROP_THREADS: String(cut),
    TF_NUM_INTRAOP_THREADS: String(Math.ceil(threads / cut)),
  };
  for (const [name, value] of Object.entries(settings)) process.env[name] ??= value;
}
