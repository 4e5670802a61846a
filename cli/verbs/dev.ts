import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { note, result } from '../output.ts';
import { homeFolder } from '../place.ts';
import { wholeNumber } from './create.ts';

interface Options {
  readonly data?: string;
  readonly gpuWorkers: number;
  readonly listen?: string;
  readonly serverless?: boolean;
}

export function addDev(program: Command): void {
  program
    .command('dev')
    .description(
      'Starts Temporal, an S3 server and the workers on this machine. Ctrl-C ends all of it; the data stays.',
    )
    .option('--data <folder>', 'where the data is kept (default: .lilora/dev)')
    .option('--gpu-workers <n>', 'how many gpu workers, each with an engine of its own', count, 1)
    .option('--listen <rules>', 'submit datasets as they land in the S3 server; a file as for `lilora listen`')
    .addOption(
      new Option(
        '--serverless',
        "no gpu worker runs until a task waits: Temporal's worker controller starts it from zero",
      ).conflicts('gpuWorkers'),
    )
    .addHelpText(
      'after',
      `
Examples:
  $ lilora dev
  $ lilora dev --gpu-workers 2
  $ lilora dev --data .lilora/demo     (look again at what a demo left)
  $ lilora dev --listen rules.json     (copying a dataset into the bucket starts learning)
  $ lilora dev --serverless
TEMPORAL_ADDRESS, AWS_ENDPOINT_URL or LILORA_STORE in the environment: that server is used instead of a local one.`,
    )
    .action(async ({ data, listen, ...options }: Options) => {
      const { startDeployment } = await import('../local/deployment.ts');
      note('starting …');
      const stopped = untilInterrupted();
      const folder = data ? resolve(data) : join(homeFolder(), 'dev');
      const rules = listen && resolve(listen);
      const deployment = await startDeployment({ folder, report: note, listen: rules, ...options });
      result(
        [
          `Temporal   ${deployment.temporal}`,
          `its UI     ${deployment.ui ?? 'where that server has it'}`,
          `store      ${deployment.store}${deployment.env['AWS_ENDPOINT_URL_S3'] ? ` at ${deployment.env['AWS_ENDPOINT_URL_S3']}` : ''}`,
          ...(deployment.listener ? [`listener   ${deployment.listener}, told by the store`] : []),
          `logs       ${deployment.logs}`,
          ...(options.serverless
            ? ['gpu        no worker runs; one starts when a task waits, and ends when idle']
            : []),
          '',
          'Other terminals of this machine find it by themselves: npx lilora status',
          'Ctrl-C ends it.',
        ].join('\n'),
      );
      await stopped;
      note('ending …');
      await deployment.stop();
    });
}

/** Resolves at Ctrl-C or SIGTERM. A second one ends the process at once; the leash ends its children. */
export function untilInterrupted(): Promise<void> {
  return new Promise((stopped) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.once(signal, () => {
        process.once(signal, () => process.exit(130));
        stopped();
      });
  });
}

/** For options that take a number of processes. */
export function count(text: string): number {
  const value = wholeNumber(text);
  if (value === 0) throw new InvalidArgumentError('It must be at least 1.');
  return value;
}
