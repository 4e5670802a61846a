import { resolve } from 'node:path';
import type { Command } from 'commander';
import { verbStore } from '../connect.ts';
import { published } from '../generations.ts';
import { result, resultJson } from '../output.ts';
import { wholeNumber } from './create.ts';

export function addReport(program: Command): void {
  program
    .command('report')
    .description('Downloads the HTML report of a generation: one file, for any browser.')
    .argument('<stream>')
    .option('--generation <n>', 'not the current generation but this one', wholeNumber)
    .option('--output <file>', 'where to (default: STREAM-GENERATION.html)')
    .option('--json', 'the accuracy matrix, the metrics and what the router does, as JSON instead')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora report pets
  $ lilora report pets --generation 2 --json | jq .metrics`,
    )
    .action(async (stream: string, options: { generation?: number; output?: string; json?: boolean }) => {
      const store = await verbStore();
      const { generation, matrix, metrics, routing, file } = await published(store, stream, options.generation);
      if (options.json) return resultJson({ stream, generation, matrix, metrics, routing: routing ?? null });
      const path = resolve(options.output ?? `${stream}-${generation}.html`);
      const ref = file('report.html');
      await store.download(ref.key, path, ref);
      result(path);
    });
}
