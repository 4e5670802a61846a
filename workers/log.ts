import pino, { type Logger } from 'pino';

/** One structured log per process, on stderr. */
export function startLog(role: string): Logger {
  return pino(
    { base: { role, pid: process.pid }, level: process.env['LILORA_LOG_LEVEL'] ?? 'info' },
    pino.destination(2),
  );
}
