import type { Command } from 'commander';
import { verbSettings, verbStore, withClient } from '../connect.ts';
import { outcomeText } from '../follow.ts';
import { LiveLine, note, result, resultJson } from '../output.ts';
import { submitTask } from '../streams.ts';
import { reachableDataset } from '../upload.ts';
import { watchTask } from '../watch-task.ts';

interface Options {
  readonly task?: string;
  readonly wait?: boolean;
  readonly json?: boolean;
}

export function addSubmit(program: Command): void {
  program
    .command('submit')
    .description('Gives a dataset to a stream to learn. The same dataset again is answered with the first submission.')
    .argument('<stream>')
    .argument(
      '<dataset>',
      'dataset.json or its folder: s3://bucket/prefix, or a local one, which is copied into the store',
    )
    .option('--task <name>', "name of the task in the stream (default: the dataset's own)")
    .option('--wait', 'wait until it is published or not; then the exit code says which')
    .option('--json', 'the answer as JSON; with --wait, the final state of the task')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora submit pets s3://data/cats
  $ lilora submit pets ./dogs --wait`,
    )
    .action(async (stream: string, dataset: string, options: Options) => {
      const settings = await verbSettings();
      const live = new LiveLine();
      const uri = await reachableDataset(dataset, settings.store, (done, total) =>
        live.update('copying the dataset into the store', `${done} of ${total} files`),
      );
      live.end();
      await withClient(async (client) => {
        const submission = await submitTask(client, verbStore, stream, { dataset: uri, task: options.task });
        const again = submission.duplicate ? ' (submitted before)' : '';
        if (!options.wait) {
          if (options.json) resultJson(submission);
          else result(`${submission.task}: ${submission.status}${again}. Follow it with: lilora watch ${stream}`);
          return;
        }
        note(`${submission.task}: ${submission.status}${again}`);
        const line = await watchTask(client, stream, submission.task);
        if (options.json) resultJson(line);
        else result(outcomeText(line));
        if (line.status !== 'published') process.exitCode = 1;
      });
    });
}
