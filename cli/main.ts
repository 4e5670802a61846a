import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { readable } from './failures.ts';
import { ROOT } from './place.ts';
import { addBudget } from './verbs/budget.ts';
import { addCost } from './verbs/cost.ts';
import { addCreate } from './verbs/create.ts';
import { addDemo } from './verbs/demo.ts';
import { addDev } from './verbs/dev.ts';
import { addDoctor } from './verbs/doctor.ts';
import { addListen } from './verbs/listen.ts';
import { addPredict } from './verbs/predict.ts';
import { addPull } from './verbs/pull.ts';
import { addReport } from './verbs/report.ts';
import { addSchedule } from './verbs/schedule.ts';
import { addStatus } from './verbs/status.ts';
import { addSteering } from './verbs/steer.ts';
import { addSubmit } from './verbs/submit.ts';
import { addValidate } from './verbs/validate.ts';
import { addWatch } from './verbs/watch.ts';
import { addWorker } from './verbs/worker.ts';

/** Exit codes of every verb. */
export const DONE = 0;
export const FAILED = 1;
export const MISUSE = 2;

/** The whole command line, for `main` and for the tests of its help. */
export function buildProgram(): Command {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const program = new Command('lilora')
    .description('Continual learning for multimodal models: datasets in, one published generation of adapters out.')
    .version(version)
    .exitOverride()
    .showHelpAfterError('(see `lilora --help`, or `lilora VERB --help` with examples)')
    .addHelpText(
      'after',
      `
Results go to stdout, progress to stderr. Exit code: 0 done, 1 failed, 2 misuse.

Where things are:
  TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, …   Temporal, as for its own tools
  AWS_ENDPOINT_URL, AWS_PROFILE, AWS_ACCESS_KEY_ID, …         the object store, as for the AWS tools
  LILORA_STORE      s3://bucket/prefix or a folder: where streams are kept
  LILORA_HOME       data of \`lilora dev\` and \`lilora demo\`; default .lilora in this project
  LILORA_CACHE      downloads; default ~/.cache/lilora
While \`lilora dev\` runs, the other verbs find it without any of these.

First steps:
  $ lilora demo
  $ lilora dev        (then, in another terminal:)
  $ lilora create pets --model ./examples/base-model
  $ lilora submit pets ./my-dataset --wait`,
    );
  for (const add of [
    addDemo,
    addDev,
    addCreate,
    addValidate,
    addSubmit,
    addWatch,
    addStatus,
    addReport,
    addCost,
    addBudget,
    addSteering,
    addSchedule,
    addPull,
    addPredict,
    addWorker,
    addListen,
    addDoctor,
  ])
    add(program);
  for (const command of program.commands) command.exitOverride();
  return program;
}

/** Runs one command line and gives the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const program = buildProgram();
  try {
    if (args.length === 0) {
      program.outputHelp({ error: true });
      return MISUSE;
    }
    await program.parseAsync([...args], { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : DONE;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : MISUSE;
    process.stderr.write(`${readable(error, process.env['LILORA_DEBUG'] !== undefined)}\n`);
    return FAILED;
  }
}
