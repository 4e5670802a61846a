import type { Command } from 'commander';
import { withClient } from '../connect.ts';
import { follow, type Moment, outcomeText, progressText, settled } from '../follow.ts';
import { LiveLine, result, resultJson } from '../output.ts';

interface Options {
  readonly stay?: boolean;
  readonly json?: boolean;
}

export function addWatch(program: Command): void {
  program
    .command('watch')
    .description('Shows the live progress of a stream until nothing is queued or running.')
    .argument('<stream>')
    .option('--stay', 'stay when the stream is idle, until Ctrl-C')
    .option('--json', 'every change as one line of JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora watch pets
  $ lilora watch pets --json | jq .running.progress.loss`,
    )
    .action(async (stream: string, options: Options) => {
      await withClient(async (client) => {
        const live = new LiveLine();
        const told = new Set<string>();
        let shown = '';
        const idle = ({ stream: { tasks } }: Moment) => !options.stay && tasks.every(settled);
        for await (const moment of follow(client, stream, idle)) {
          if (options.json) {
            const { tasks, paused, head } = moment.stream;
            const text = JSON.stringify({ paused, head, tasks, running: moment.running });
            if (text !== shown) resultJson(JSON.parse(text));
            shown = text;
            continue;
          }
          for (const line of moment.stream.tasks.filter(settled)) {
            const text = outcomeText(line);
            if (told.has(text)) continue;
            told.add(text);
            live.end();
            result(text);
          }
          const { running } = moment;
          if (running) live.update(`${running.task}, ${progressText(running)[0]}`, progressText(running)[1]);
          else live.update(moment.stream.paused ? 'paused' : 'idle');
        }
        live.end();
      });
    });
}
