import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Client } from '@temporalio/client';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { LiloraError } from '../../core/errors.ts';
import type { MetricValues } from '../../report/generation-view.ts';
import { matrixText, metricsText, table } from '../../report/terminal.ts';
import type { DemoResult } from '../demo-run.ts';
import type { FromZero } from '../from-zero.ts';
import type { Deployment } from '../local/deployment.ts';
import { note, result, resultJson } from '../output.ts';
import { findRunning, homeFolder } from '../place.ts';
import { runSteps } from '../steps.ts';
import { wholeNumber } from './create.ts';
import { count, untilInterrupted } from './dev.ts';

interface Options {
  readonly tasks: readonly string[];
  readonly trainSamples?: number;
  readonly testSamples?: number;
  readonly model?: string;
  readonly gpuWorkers: number;
  readonly keep?: boolean;
  readonly json?: boolean;
  readonly serverless?: boolean;
}

/** The three example tasks of the demo: few enough for three minutes, different enough to be forgotten. */
const TASKS = ['digit', 'class', 'open'];

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description(
      'The whole path on this machine: servers, example datasets, three tasks learned one after another, adapters published.',
    )
    .option('--tasks <names>', 'example datasets, in the order of learning', names, TASKS)
    .option('--train-samples <n>', 'training samples of each, to be quicker', wholeNumber)
    .option('--test-samples <n>', 'test samples of each', wholeNumber)
    .option(
      '--model <folder>',
      'another base model than the one that comes with the examples: a folder in the Hugging Face layout',
    )
    .option('--gpu-workers <n>', 'how many gpu workers, each with an engine of its own', count, 1)
    .addOption(
      new Option(
        '--serverless',
        "no gpu worker runs until a task waits: Temporal's worker controller starts it from zero",
      ).conflicts('gpuWorkers'),
    )
    .option('--keep', 'keep the servers running until Ctrl-C')
    .option('--json', 'end with one JSON object on stdout')
    .addHelpText(
      'after',
      '\nExamples:\n  $ lilora demo\n  $ lilora demo --keep\n  $ lilora demo --tasks digit --json | jq .matrix\n  $ lilora demo --serverless',
    )
    .action(demo);
}

function names(text: string): string[] {
  const found = text.split(',').map((name) => name.trim());
  if (found.some((name) => !/^[a-z0-9][a-z0-9-]*$/.test(name)) || new Set(found).size !== found.length)
    throw new InvalidArgumentError('It must be different names, separated by commas.');
  return found;
}

async function demo(options: Options): Promise<void> {
  const [{ startDeployment }, { Demo }, config] = await Promise.all([
    import('../local/deployment.ts'),
    import('../demo-run.ts'),
    import('../../workers/config.ts'),
  ]);
  // Two lanes: as many as the smallest machine has cores, and the same everywhere, so that every demo ends alike.
  process.env['LILORA_THREADS'] ??= '2';
  const interrupted = untilInterrupted();
  const folder = join(homeFolder(), 'demo');
  const shared = process.env['TEMPORAL_ADDRESS'] || process.env['LILORA_STORE'];
  // On servers of somebody else an earlier demo may have left its stream.
  const stream = shared ? `demo-${Date.now().toString(36)}` : 'demo';
  const run = new Demo({ ...options, stream, folder: join(folder, 'datasets') });
  let deployment: Deployment | undefined;
  let starting: Promise<Deployment> | undefined;
  let client: Client | undefined;
  const work = async () => {
    await runSteps([
      {
        title: options.serverless
          ? 'Starting Temporal, the S3 server and the orchestrator, but no gpu worker'
          : 'Starting Temporal, the S3 server and the workers',
        run: run.timed('servers', async (say) => {
          if (!findRunning()) await rm(folder, { recursive: true, force: true });
          const { gpuWorkers, serverless } = options;
          starting = startDeployment({ folder, report: say, gpuWorkers, serverless });
          deployment = await starting;
          Object.assign(process.env, deployment.env);
          client = await config.connectClient(config.temporalSettings());
          say(`Temporal UI: ${deployment.ui}`);
        }),
      },
      ...run.preparation(
        () => deployment!,
        () => client!,
      ),
      ...run.learning(
        () => deployment!,
        () => client!,
      ),
      ...(options.serverless
        ? [
            run.toZero(
              () => deployment!,
              () => client!,
            ),
          ]
        : []),
    ]);
    return run.result(deployment!);
  };
  try {
    const done = await Promise.race([work(), interrupted.then(() => null)]);
    if (done === null) throw new LiloraError('Cancelled', 'Interrupted. Start again with `lilora demo`.');
    if (options.json) resultJson(done);
    else result(demoText(done, deployment!, options));
    if (options.keep) {
      note('The servers run until Ctrl-C.');
      await interrupted;
    }
  } finally {
    await client?.connection.close();
    // Interrupted while they started: what came up must end, too.
    await (await starting?.catch(() => undefined))?.stop();
  }
}

function demoText(done: DemoResult, deployment: Deployment, { keep }: Options): string {
  const { stream, generation, matrix, metrics, tasks } = done;
  const here = relative('', join(homeFolder(), 'demo')) || '.';
  const first = tasks[0]!.task;
  const { image, prompt } = exampleQuestion(join(here, 'datasets', first));
  return [
    '',
    `Accuracy of every task (percent) after each step, measured on generation after generation of stream ${stream}:`,
    matrixText(matrix),
    metricsText(metrics as MetricValues),
    done.serverless ? fromZeroText(done.serverless) : '',
    `Published as generation ${generation}; every adapter is a plain PEFT LoRA:`,
    table(
      tasks.map(({ task, adapter }) => [task, adapter.uri, adapter.sha256.slice(0, 16)]),
      '  ',
    ),
    keep && deployment.ui ? `Temporal UI: ${deployment.ui}` : '',
    keep
      ? 'Go on in another terminal:'
      : 'Go on (the first one starts the servers again, for the others in another terminal):',
    [
      ...(keep ? [] : [`dev --data ${here}`]),
      `report ${stream}`,
      `pull ${stream} ./adapters`,
      `predict ${stream} --task ${first} --image ${image} ${JSON.stringify(prompt)}`,
    ]
      .map((line) => `  npx lilora ${line}`)
      .join('\n'),
  ]
    .filter((part, i) => i === 0 || part !== '')
    .join('\n\n');
}

function fromZeroText({ workers, firstStepSeconds, gpuSeconds }: FromZero): string {
  const { billed, useful } = gpuSeconds;
  const first = Object.entries(firstStepSeconds).map(
    ([task, s]) => `${task} ${s === null ? 'none' : `${s.toFixed(1)} s`}`,
  );
  return [
    'GPU workers, started from zero by Temporal when a task waited:',
    `  how many             ${workers.map(({ count }) => count).join(' → ')}`,
    `  first training step  ${first.join(', ')} after the submission`,
    `  GPU-seconds          ${billed.toFixed(1)} billed, ${useful.toFixed(1)} of them with work`,
  ].join('\n');
}

/** The first test sample of an example dataset, to try a prediction with. */
function exampleQuestion(folder: string): { image: string; prompt: string } {
  const [sample] = JSON.parse(readFileSync(join(folder, 'test.json'), 'utf8')) as Array<{
    image: string;
    conversations: Array<{ value: string }>;
  }>;
  return { image: join(folder, sample!.image), prompt: sample!.conversations[0]!.value.replace(/^<image>\n/, '') };
}
