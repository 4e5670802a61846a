import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CancelledFailure, Context } from '@temporalio/activity';
import type { Measured } from '../core/cost.ts';
import { sha256File } from '../core/digest.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { type FileRef, MAX_PAYLOAD_BYTES } from '../workflows/contract.ts';
import type { Engine } from './engine.ts';

/** What data activities work with. */
export interface DataContext {
  /** Where streams are kept. */
  readonly store: ObjectStore;
  /** Opens another place by URI: datasets and models of other people. */
  openPlace(uri: string): Promise<ObjectStore>;
  /** Whether a definition may name a folder of this machine as its base model: not where the store is elsewhere. Yes when absent. */
  readonly localModels?: boolean;
  /** Local folder for downloads, by digest. */
  readonly cache: string;
  /** Version of this code, part of lineage and of checkpoint identity. */
  readonly codeVersion: string;
}

/** What GPU activities work with. */
export interface GpuContext extends DataContext {
  readonly engine: Engine;
  /** Aborts when this worker is told to stop: running jobs write a last checkpoint and go on elsewhere. */
  readonly stopping: AbortSignal;
}

/** The object as a verified local file, downloaded once per digest. Another process may be doing the same. */
export async function localFile({ store, cache }: DataContext, ref: FileRef): Promise<string> {
  const path = join(cache, 'objects', ref.sha256.slice(0, 2), ref.sha256);
  const here = await stat(path).catch(() => null);
  if (here?.size === ref.size && (await sha256File(path)) === ref.sha256) return path;
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  try {
    await beating(
      () => store.download(ref.key, partial, { size: ref.size, sha256: ref.sha256 }),
      async () => ({ fetching: ref.key }),
    );
    await rename(partial, path);
  } finally {
    await rm(partial, { force: true });
  }
  return path;
}

/** Stores a local file under a key that holds its digest, so that a repeated or a stale attempt changes nothing. */
export async function storeFile(
  { store }: DataContext,
  prefix: string,
  path: string,
  suffix: string,
): Promise<FileRef> {
  const [digest, { size }] = await Promise.all([sha256File(path), stat(path)]);
  const key = `${prefix}/${digest}${suffix}`;
  if ((await store.head(key))?.size !== size) await store.upload(key, path);
  return { key, size, sha256: digest };
}

/** Refuses a result that would not fit well into workflow history, before the server does so in a loop. */
export function guardPayload<T>(what: string, value: T): T {
  const bytes = Buffer.byteLength(JSON.stringify(value) ?? '');
  if (bytes <= MAX_PAYLOAD_BYTES) return value;
  throw new LiloraError(
    'BadConfig',
    `${what}: ${bytes} bytes of payload, over our limit of ${MAX_PAYLOAD_BYTES}. Payloads hold references; put the rest into the store.`,
  );
}

/** What the attempts of a step spent so far, by the step that runs. */
const spending = new WeakMap<Context, () => Measured>();

/** From now on every heartbeat of this step tells what it spent: the next attempt learns what a lost one cost. */
export function tellSpending(spent: () => Measured): void {
  spending.set(Context.current(), spent);
}

/** What this step spent so far; undefined where nobody measures. */
export function spentNow(): Measured | undefined {
  return spending.get(Context.current())?.();
}

/** Tells Temporal that work advances. Outside an activity (in tests of one function) it does nothing. */
export function beat(details?: object): void {
  try {
    Context.current().heartbeat({ ...details, spent: spentNow() });
  } catch {
    // not inside an activity
  }
}

/**
 * Beats while something runs that says nothing on its own: an answer that is waited for, a long listing, a large download.
 * @param details what each beat tells
 */
export async function beating<T>(work: () => Promise<T>, details?: () => Promise<object>): Promise<T> {
  const tell = () => void (details ? details().then(beat, () => beat()) : beat());
  const timer = setInterval(tell, Math.min(10_000, (heartbeatTimeout() ?? 30_000) / 3));
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

/** Milliseconds after which a silent step counts as lost; undefined outside an activity. */
function heartbeatTimeout(): number | undefined {
  try {
    return Context.current().info.heartbeatTimeoutMs;
  } catch {
    return undefined;
  }
}

/** Aborts when the activity is cancelled or this worker stops. */
export function cancellation({ stopping }: GpuContext): AbortSignal {
  return AbortSignal.any([Context.current().cancellationSignal, stopping]);
}

/** Tells Temporal why work was broken off: cancelled for good, or to be taken up by another worker. */
export async function interruptible<T>({ stopping }: GpuContext, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isLiloraError(error, 'Cancelled')) throw error;
    if (stopping.aborted)
      throw new LiloraError('EngineLost', 'This worker is stopping; another one goes on from the last checkpoint.');
    throw new CancelledFailure(error.message);
  }
}
