import { type Command, InvalidArgumentError } from 'commander';
import { verbSettings } from '../connect.ts';

export function addWorker(program: Command): void {
  const worker = program
    .command('worker')
    .description('Runs one worker process until it is told to stop.')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora worker orchestrator
  $ lilora worker gpu --idle-exit 120`,
    );
  worker
    .command('orchestrator')
    .description('Workflows, datasets and publishing: needs the store, no GPU.')
    .action(async () => {
      const { runOrchestrator } = await import('../../workers/orchestrator.ts');
      await runOrchestrator(await verbSettings());
    });
  worker
    .command('gpu')
    .description('Training and evaluation, one at a time, on one engine.')
    .option('--idle-exit <seconds>', 'end after so long without work', seconds)
    .option('--queue <name>', 'task queue of this GPU class')
    .action(async (options: { idleExit?: number; queue?: string }) => {
      const { runGpuWorker } = await import('../../workers/gpu.ts');
      await runGpuWorker(await verbSettings(), { idleExitSeconds: options.idleExit, queue: options.queue });
    });
  for (const command of worker.commands) command.exitOverride();
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value))
    throw new InvalidArgumentError('It must be a number of seconds above 0.');
  return value;
}
