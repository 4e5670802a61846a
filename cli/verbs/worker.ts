import { type Command, InvalidArgumentError, Option } from 'commander';
import { QUEUES } from '../../workflows/contract.ts';
import { result, resultJson } from '../output.ts';
import { untilServersGo } from '../place.ts';

interface GpuOptions {
  readonly queue: string;
  readonly idleExit?: number;
  readonly firstTask?: number;
  readonly deployment?: string;
  readonly buildId?: string;
}

interface ServerlessOptions {
  readonly provider: string;
  readonly queue: string;
  readonly deployment?: string;
  readonly buildId?: string;
  readonly json?: boolean;
}

export function addWorker(program: Command): void {
  const worker = program
    .command('worker')
    .description('Runs one worker process until it is told to stop.')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora worker orchestrator
  $ lilora worker gpu --idle-exit 120
  $ lilora worker register-serverless --provider cloud-run.json`,
    );
  worker
    .command('orchestrator')
    .description('Workflows, datasets and publishing: needs the store, no GPU.')
    .action(async () => {
      const signal = untilServersGo();
      const { runOrchestrator } = await import('../../workers/orchestrator.ts');
      const { verbSettings } = await import('../connect.ts');
      await runOrchestrator(await verbSettings(), { signal });
    });
  const queue = () => new Option('--queue <name>', 'task queue of this GPU class').default(QUEUES.gpu);
  // The names under which Temporal's worker controller for Kubernetes gives them to a process.
  const deployment = (what: string) => new Option('--deployment <name>', what).env('TEMPORAL_DEPLOYMENT_NAME');
  const buildId = () =>
    new Option('--build-id <id>', 'its version (default: that of this code)').env('TEMPORAL_WORKER_BUILD_ID');
  worker
    .command('gpu')
    .description('Training and evaluation, one at a time, on one engine.')
    .option('--idle-exit <seconds>', 'end after so long without work', seconds)
    .option('--first-task <seconds>', 'end when not one task came so soon after the start', seconds)
    .addOption(queue())
    .addOption(deployment('Worker Deployment that it belongs to (default: none)'))
    .addOption(buildId())
    .action(async ({ idleExit, firstTask, queue, deployment, buildId }: GpuOptions) => {
      const signal = untilServersGo();
      const { runGpuWorker } = await import('../../workers/gpu.ts');
      await runGpuWorker(async () => (await import('../connect.ts')).verbSettings(), {
        idleExitSeconds: idleExit,
        firstTaskSeconds: firstTask,
        queue,
        deployment: deployment === undefined ? undefined : { name: deployment, buildId },
        signal,
      });
    });
  worker
    .command('register-serverless')
    .description("Makes Temporal's worker controller start gpu workers from zero when tasks wait. Starts none now.")
    .requiredOption('--provider <file>', 'JSON: {"provider": "gcp-cloud-run", "details": {…}, "scaler": {…}}')
    .addOption(queue())
    .addOption(deployment("Worker Deployment (default: the queue's name)"))
    .addOption(buildId())
    .option('--json', 'the result as one JSON object')
    .action(registerServerlessVerb);
  worker
    .command('unregister-serverless')
    .description('The worker controller starts no more workers; tasks go to ordinary ones. Pools keep their size.')
    .addOption(deployment('Worker Deployment').default(QUEUES.gpu))
    .action(async ({ deployment: name }: { deployment: string }) => {
      const { unregisterServerless } = await import('../../workers/serverless.ts');
      const { withClient } = await import('../connect.ts');
      await withClient((client) => unregisterServerless(client, name));
      result(`Tasks of ${name} go to ordinary workers.`);
    });
  for (const command of worker.commands) command.exitOverride();
}

async function registerServerlessVerb(options: ServerlessOptions): Promise<void> {
  const { readCompute, registerServerless } = await import('../../workers/serverless.ts');
  const { codeVersion } = await import('../../workers/runtime.ts');
  const { queue, deployment = queue, buildId = codeVersion() } = options;
  const { withClient } = await import('../connect.ts');
  const compute = await readCompute(options.provider);
  await withClient((client) => registerServerless(client, { queue, deployment, buildId, compute }));
  if (options.json) resultJson({ queue, deployment, buildId, provider: compute.provider });
  else
    result(
      [
        `Tasks on ${queue} now start workers by ${compute.provider}. Such a worker runs`,
        `  lilora worker gpu --queue ${queue} --deployment ${deployment} --build-id ${buildId}`,
      ].join('\n'),
    );
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value))
    throw new InvalidArgumentError('It must be a number of seconds above 0.');
  return value;
}
