import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Client } from '@temporalio/client';
import { type Command, InvalidArgumentError } from 'commander';
import { LiloraError } from '../../core/errors.ts';
import type { MetricValues } from '../../report/generation-view.ts';
import { matrixText, metricsText, table } from '../../report/terminal.ts';
import type { DemoResult } from '../demo-run.ts';
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
    .option('--keep', 'keep the servers running until Ctrl-C')
    .option('--json', 'end with one JSON object on stdout')
    .addHelpText(
      'after',
      '\nExamples:\n  $ lilora demo\n  $ lilora demo --keep\n  $ lilora demo --tasks digit --json | jq .matrix',
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
  // Its model is so small that a second thread costs more than it brings.
  process.env['LILORA_THREADS'] ??= '1';
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
        title: 'Starting Temporal, the S3 server and the workers',
        run: run.timed('servers', async (say) => {
          if (!findRunning()) await rm(folder, { recursive: true, force: true });
          starting = startDeployment({ folder, report: say, gpuWorkers: options.gpuWorkers });
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

/** The first test sample of an example dataset, to try a prediction with. */
function exampleQuestion(folder: string): { image: string; prompt: string } {
  const [sample] = JSON.parse(readFileSync(join(folder, 'test.json'), 'utf8')) as Array<{
    image: string;
    conversations: Array<{ value: string }>;
  }>;
  return { image: join(folder, sample!.image), prompt: sample!.conversations[0]!.value.replace(/^<image>\n/, '') };
}
