import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DefaultLogger, Runtime, type RuntimeOptions } from '@temporalio/worker';
import type { Logger } from 'pino';
import { DEFAULTS } from '../core/defaults.ts';
import { showAlive } from './alive.ts';

/** Temporal's native part of this process: its messages go into our log, and signals are ours. */
export function startRuntime(log: Logger): void {
  const levels = { TRACE: 'trace', DEBUG: 'debug', INFO: 'info', WARN: 'warn', ERROR: 'error' } as const;
  Runtime.install({
    logger: new DefaultLogger('INFO', ({ level, message, meta }) => log[levels[level]](meta ?? {}, message)),
    ...metricsFor(process.env['LILORA_METRICS']),
    workerHeartbeatInterval: `${DEFAULTS['worker.heartbeatSeconds'].value}s`,
    shutdownSignals: [], // we decide the order: activities first, then the engine
  });
  showAlive();
}

/** The Temporal SDK's own metrics for Prometheus at `http://ADDRESS/metrics`, when an address (`host:port`) is given. */
function metricsFor(address: string | undefined): Pick<RuntimeOptions, 'telemetryOptions'> {
  return address ? { telemetryOptions: { metrics: { prometheus: { bindAddress: address } } } } : {};
}

/** Root of this checkout or package. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Folders whose code decides what a bank or a score becomes. */
const SCIENCE = ['core', 'datasets', 'learning', 'workers/engine'];

/** The package's version and a digest of the code that computes results: part of lineage, checkpoints and memo keys. */
export function codeVersion(): string {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const hash = createHash('sha256');
  for (const folder of SCIENCE)
    for (const entry of readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).sort())
      if (entry.endsWith('.ts') && !entry.endsWith('.test.ts'))
        hash.update(entry).update(readFileSync(join(ROOT, folder, entry)));
  return `${version}+${hash.digest('hex').slice(0, 12)}`;
}

/** Aborts on SIGINT or SIGTERM, or with `signal`. */
export function untilStopped(signal?: AbortSignal): Promise<string> {
  return new Promise((stopped) => {
    process.once('SIGINT', () => stopped('SIGINT'));
    process.once('SIGTERM', () => stopped('SIGTERM'));
    signal?.addEventListener('abort', () => stopped('asked to'), { once: true });
  });
}
