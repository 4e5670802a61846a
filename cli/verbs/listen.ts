import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import { withClient } from '../connect.ts';
import { untilInterrupted } from './dev.ts';

interface Options {
  readonly host: string;
  readonly port?: number;
  readonly sqs?: string;
}

export function addListen(program: Command): void {
  program
    .command('listen')
    .description(
      'Submits datasets as they land in a bucket: takes the events of an object store until it is told to stop.',
    )
    .argument('<rules>', 'JSON file: which stream learns the datasets of which bucket and prefix')
    .option('--host <address>', 'address that it listens on for webhooks', '127.0.0.1')
    .option(
      '--port <n>',
      `port for webhooks and GET /health (default: ${DEFAULTS['listen.port'].value}; with --sqs none)`,
      port,
    )
    .option('--sqs <url>', 'take events from this queue')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora listen rules.json
  $ LILORA_WEBHOOK_SECRET_FILE=/run/secrets/webhook lilora listen rules.json --host 0.0.0.0
  $ lilora listen rules.json --sqs https://sqs.eu-west-1.amazonaws.com/111122223333/datasets
  rules.json: {"schema": 1, "rules": [{"bucket": "data", "prefix": "pets/", "stream": "pets"}]}

Webhooks go to POST /s3 with the secret as \`Authorization: Bearer …\` or a Standard Webhooks signature, or to
POST /s3/SECRET. The secret is LILORA_WEBHOOK_SECRET, or in the file that LILORA_WEBHOOK_SECRET_FILE names; without one
only this machine is served. docs/triggers.md has the set-up of each store.`,
    )
    .action((rules: string, options: Options) => listen(rules, options));
}

async function listen(file: string, { host, port: wanted, sqs }: Options): Promise<void> {
  const [{ default: pino }, { readRules }, { Receiver }, { Submitter }] = await Promise.all([
    import('pino'),
    import('../../triggers/rules.ts'),
    import('../../triggers/receive.ts'),
    import('../../triggers/submit.ts'),
  ]);
  const rules = readRules(await readText(file), file);
  const secret = await webhookSecret();
  const level = process.env['LILORA_LOG_LEVEL'] ?? 'info';
  const log = pino({ base: { role: 'listener', pid: process.pid }, level }, pino.destination(2));
  const grace = DEFAULTS['listen.stopSeconds'].value * 1000;
  const interrupted = untilInterrupted();
  await withClient(async (client) => {
    const submitter = new Submitter(client);
    const receiver = new Receiver(rules, submitter, log);
    const common = { receiver, submitter, log };
    const stopping = new AbortController();
    const { startListener } = await import('../../triggers/listener.ts');
    const port = wanted ?? (sqs ? null : DEFAULTS['listen.port'].value);
    const listener = port === null ? null : await startListener({ ...common, host, port, secret });
    const polling = sqs
      ? (await import('../../triggers/sqs.ts')).pollQueue({ ...common, url: sqs, signal: stopping.signal })
      : new Promise<never>(() => {});
    log.info({ rules: rules.length, host, port: listener?.port, queue: sqs }, 'listener ready');
    try {
      await Promise.race([interrupted, polling]);
    } finally {
      stopping.abort();
      await Promise.all([submitter.stop(grace), listener?.stop(grace + 1000), sqs && polling.catch(() => {})]);
      log.info(receiver.counts, 'listener stops');
    }
  });
}

/** The shared secret of webhooks from the environment or a file, never from an argument; null when there is none. */
async function webhookSecret(): Promise<string | null> {
  const { checkSecret } = await import('../../triggers/webhook-auth.ts');
  const file = process.env['LILORA_WEBHOOK_SECRET_FILE'];
  if (file) return checkSecret((await readText(file)).toString().trim(), file);
  const value = process.env['LILORA_WEBHOOK_SECRET'];
  return value ? checkSecret(value, 'LILORA_WEBHOOK_SECRET') : null;
}

function readText(file: string): Promise<Buffer> {
  return readFile(file).catch((error: Error) => {
    throw new LiloraError('BadConfig', `${file} cannot be read (${error.message}).`);
  });
}

function port(text: string): number {
  const value = Number(text);
  if (!/^\d{1,5}$/.test(text) || value > 65535) throw new InvalidArgumentError('It must be a port: 0 to 65535.');
  return value;
}
