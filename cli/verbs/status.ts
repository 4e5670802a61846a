import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import { fixed } from '../../report/generation-view.ts';
import { routingLine } from '../../report/routing.ts';
import { matrixText, table } from '../../report/terminal.ts';
import { WORKFLOWS } from '../../workflows/contract.ts';
import { withClient } from '../connect.ts';
import { look, type Moment, progressText } from '../follow.ts';
import { result, resultJson } from '../output.ts';

export function addStatus(program: Command): void {
  program
    .command('status')
    .description('The state and the accuracy matrix of a stream; without a name, all streams.')
    .argument('[stream]')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora status
  $ lilora status pets --json | jq .matrix`,
    )
    .action(async (stream: string | undefined, { json }: { json?: boolean }) => {
      await withClient(async (client) => {
        if (stream === undefined) {
          const streams = await listStreams(client);
          if (json) resultJson(streams);
          else result(streams.length === 0 ? 'No streams. Define one with `lilora create`.' : streamsText(streams));
          return;
        }
        const moment = await look(client, stream);
        if (json) resultJson({ ...moment.stream, running: moment.running });
        else result(statusText(moment));
      });
    });
}

interface StreamLine {
  readonly stream: string;
  readonly state: string;
  readonly method: string | null;
  readonly averageAccuracy: number | null;
  readonly forgetting: number | null;
}

async function listStreams(client: Client): Promise<StreamLine[]> {
  const found = new Map<string, StreamLine>();
  for await (const { workflowId, status, searchAttributes } of client.workflow.list({
    query: `WorkflowType = '${WORKFLOWS.stream}'`,
  })) {
    const stream = /^lilora\/([^/]+)$/.exec(workflowId)?.[1];
    // Newest first: older runs of the same stream are history.
    if (stream === undefined || found.has(stream)) continue;
    const attribute = (name: string) => searchAttributes[name]?.[0] ?? null;
    found.set(stream, {
      stream,
      state: status.name.toLowerCase(),
      method: attribute('LiloraMethod') as string | null,
      averageAccuracy: attribute('LiloraAverageAccuracy') as number | null,
      forgetting: attribute('LiloraForgetting') as number | null,
    });
  }
  return [...found.values()].sort((a, b) => (a.stream < b.stream ? -1 : 1));
}

function streamsText(streams: readonly StreamLine[]): string {
  return table([
    ['stream', 'state', 'method', 'average accuracy', 'forgetting'],
    ...streams.map((s) => [s.stream, s.state, s.method ?? '', fixed(s.averageAccuracy), fixed(s.forgetting)]),
  ]);
}

/** A stream for people: what is published, what goes on, every task, the matrix. */
export function statusText({ stream, running }: Moment): string {
  const { head, definition } = stream;
  const step = running ? progressText(running).filter(Boolean).join(': ') : '';
  return [
    [
      `stream ${stream.stream}${stream.paused ? ' (paused)' : ''}`,
      definition ? `method ${definition.method.name}, base model ${definition.model.uri}` : 'being opened',
      head ? `published: generation ${head.generation}` : 'nothing published yet',
      running ? `now: ${running.task}, ${step}` : stream.trouble ? 'now: waiting' : 'now: idle',
      ...(stream.trouble
        ? [
            `trouble since ${stream.trouble.since}: ${stream.trouble.message}`,
            `  It is tried again every few minutes; at once with \`lilora resume ${stream.stream}\`. Nothing that was queued is lost.`,
          ]
        : []),
    ].join('\n'),
    stream.tasks.length === 0
      ? ''
      : table([
          ['task', 'status', 'generation', ''],
          ...stream.tasks.map((t) => [t.task, t.status, t.generation?.toString() ?? '', short(t.message ?? '')]),
        ]),
    stream.matrix.rows.length === 0 ? '' : matrixText(stream.matrix),
    stream.routing ? routingLine(stream.routing) : '',
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

const short = (text: string) => (text.length > 300 ? `${text.slice(0, 300)}…` : text);
