import { type Command, InvalidArgumentError } from 'commander';
import { BUDGET_FIELDS, type Budget } from '../../core/cost.ts';
import { type RaiseBudget, UPDATES } from '../../workflows/contract.ts';
import { describeStream, streamHandle, withClient } from '../connect.ts';
import { result, resultJson } from '../output.ts';

type Options = { readonly [Name in keyof Budget]: number | 'none' } & { readonly json?: boolean };

export function addBudget(program: Command): void {
  program
    .command('budget')
    .description('Shows or changes the budget of a stream. A task that has reached it waits for a person.')
    .argument('<stream>')
    .option('--task-gpu-seconds <n>', 'GPU-seconds that one task may take, or "none"', limit)
    .option('--stream-gpu-seconds <n>', 'GPU-seconds that all tasks together may take, or "none"', limit)
    .option('--task-money <n>', 'the same in money, by the price table of the stream', limit)
    .option('--stream-money <n>', 'the same in money for all tasks together', limit)
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora budget pets
  $ lilora budget pets --task-gpu-seconds 3600
  $ lilora budget pets --stream-money none`,
    )
    .action(async (stream: string, { json, ...given }: Options) => {
      const named = BUDGET_FIELDS.filter((name) => given[name] !== undefined);
      const changes: RaiseBudget = Object.fromEntries(
        named.map((name) => [name, given[name] === 'none' ? null : given[name]]),
      );
      const budget = await withClient(async (client) =>
        named.length === 0
          ? ((await describeStream(client, stream)).budget ?? {})
          : streamHandle(client, stream).executeUpdate<Budget, [RaiseBudget]>(UPDATES.raiseBudget, { args: [changes] }),
      );
      if (json) return resultJson(budget);
      const limits = Object.entries(budget).map(([name, value]) => `${name} ${value}`);
      result(`Budget of stream ${stream}: ${limits.length > 0 ? limits.join(', ') : 'none'}.`);
    });
}

/** For commander: a number from 0, or `none`. */
function limit(text: string): number | 'none' {
  if (text === 'none') return text;
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0) || !Number.isFinite(value))
    throw new InvalidArgumentError('It must be a number from 0, or "none".');
  return value;
}
