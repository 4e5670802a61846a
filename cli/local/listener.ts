import { join } from 'node:path';
import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import type { Choices } from '../../infra/setup/choose.mjs';
import { ROOT } from '../place.ts';
import type { Keep } from './deployment.ts';
import { freePort } from './ports.ts';

/**
 * Starts `lilora listen` for the local S3 server, and gives the address for its events. It must be up before that server,
 * which sends a test event and ends when nobody takes it. Serves this machine only.
 */
export async function startListener(
  { s3 }: Choices,
  rules: string,
  env: Record<string, string>,
  keep: Keep,
): Promise<string> {
  if (s3.kind !== 'versitygw' || process.env['LILORA_STORE'])
    throw new LiloraError(
      'BadConfig',
      'Only the local S3 server can be told to send its events. For another one run `lilora listen` and set its notifications up (docs/triggers.md).',
    );
  const port = await freePort(DEFAULTS['listen.port'].value);
  const { LILORA_WEBHOOK_SECRET: _, LILORA_WEBHOOK_SECRET_FILE: __, ...inherited } = process.env;
  const args = [join(ROOT, 'cli/lilora.mjs'), 'listen', rules, '--port', String(port)];
  const listener = keep('listener', process.execPath, args, { ...inherited, ...env });
  await listener.logged('listener ready', 60);
  return `http://127.0.0.1:${port}/s3`;
}
