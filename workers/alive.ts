import { utimesSync, writeFileSync } from 'node:fs';

/** Time between signs of life; probes look for one within a minute. */
const BEAT_MS = 10_000;

/**
 * Touches `LILORA_ALIVE_FILE` as long as the event loop turns: liveness for probes, without a port. It says nothing of
 * Temporal or the store, because no restart of this process would mend those.
 */
export function showAlive(file = process.env['LILORA_ALIVE_FILE']): void {
  if (!file) return;
  writeFileSync(file, '');
  setInterval(() => {
    const now = new Date();
    try {
      utimesSync(file, now, now);
    } catch {
      writeFileSync(file, ''); // somebody cleaned up
    }
  }, BEAT_MS).unref();
}
