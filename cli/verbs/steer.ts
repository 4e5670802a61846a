import type { Command } from 'commander';
import type { TaskRemoval } from '../../activities/remove-task.ts';
import { bytes } from '../../report/generation-view.ts';
import { type DecideGate, SIGNALS, type StreamDescription, UPDATES } from '../../workflows/contract.ts';
import { streamHandle, withClient } from '../connect.ts';
import { result, resultJson } from '../output.ts';
import { wholeNumber } from './create.ts';

/** The verbs that steer a stream: each is one update or signal of its workflow. */
export function addSteering(program: Command): void {
  addDecision(program, 'approve', 'Publishes what waits at the gate.');
  addDecision(program, 'reject', 'Drops what waits at the gate; the stream goes on with the next task.');
  addSignal(program, 'pause', 'Stops a stream at its next checkpoint.', 'It stops at its next checkpoint.');
  addSignal(program, 'resume', 'Lets a paused stream go on.', 'It goes on.');

  program
    .command('cancel')
    .description('Cancels a queued or running task. Nothing of it is published.')
    .argument('<stream>')
    .argument('<task>')
    .addHelpText('after', '\nExample:\n  $ lilora cancel pets dogs')
    .action(async (stream: string, task: string) => {
      await withClient((client) =>
        streamHandle(client, stream).executeUpdate(UPDATES.cancelTask, { args: [{ task }] }),
      );
      result(`${task}: cancelled.`);
    });

  program
    .command('rollback')
    .description('Makes an earlier generation the current one. Later ones stay readable.')
    .argument('<stream>')
    .argument('<generation>', 'its number', wholeNumber)
    .addHelpText('after', '\nExample:\n  $ lilora rollback pets 2')
    .action(async (stream: string, generation: number) => {
      const now = await withClient((client) =>
        streamHandle(client, stream).executeUpdate<StreamDescription, [{ generation: number }]>(UPDATES.rollback, {
          args: [{ generation }],
        }),
      );
      result(`Stream ${stream} is at generation ${now.head?.generation}.`);
    });

  program
    .command('remove')
    .description('Takes a task out of a stream, with all that the store keeps of it. It cannot be undone.')
    .argument('<stream>')
    .argument('<task>')
    .option('--yes', 'needed: generations that hold the task go too')
    .option('--json', 'what went, as JSON')
    .addHelpText('after', '\nExample:\n  $ lilora remove pets dogs --yes')
    .action(async (stream: string, task: string, { yes, json }: { yes?: boolean; json?: boolean }) => {
      if (!yes) program.error(`Removing ${task} cannot be undone, and generations that hold it go too: say --yes.`);
      const removal = await withClient((client) =>
        streamHandle(client, stream).executeUpdate<TaskRemoval, [{ task: string }]>(UPDATES.removeTask, {
          args: [{ task }],
        }),
      );
      if (json) return resultJson(removal);
      const { generation, traces, objects, bytes: size } = removal;
      const rest = traces.length > 0 ? ` Shared tensors were trained on it too: ${traces.join(', ')}.` : '';
      result(`${task}: removed in generation ${generation}; ${objects} objects (${bytes(size)}) went.${rest}`);
    });
}

function addDecision(program: Command, decision: DecideGate['decision'], description: string): void {
  program
    .command(decision)
    .description(description)
    .argument('<stream>')
    .argument('<task>')
    .option('--reason <text>', 'kept in the history')
    .addHelpText('after', `\nExample:\n  $ lilora ${decision} pets dogs --reason "looked at the answers"`)
    .action(async (stream: string, task: string, { reason }: { reason?: string }) => {
      await withClient((client) =>
        streamHandle(client, stream).executeUpdate<void, [DecideGate]>(UPDATES.decideGate, {
          args: [{ task, decision, reason }],
        }),
      );
      result(`${task}: ${decision === 'approve' ? 'approved' : 'rejected'}.`);
    });
}

function addSignal(program: Command, name: 'pause' | 'resume', description: string, done: string): void {
  program
    .command(name)
    .description(description)
    .argument('<stream>')
    .addHelpText('after', `\nExample:\n  $ lilora ${name} pets`)
    .action(async (stream: string) => {
      await withClient((client) => streamHandle(client, stream).signal(SIGNALS[name]));
      result(`Told stream ${stream} to ${name}. ${done}`);
    });
}
