import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { ROOT } from './place.ts';

/** Exit codes of every verb. */
export const DONE = 0;
export const FAILED = 1;
export const MISUSE = 2;

type Add = (program: Command) => void;

/** Verbs in the order of the help, and the module that adds them. Only the one that is asked for is loaded: a worker that starts from zero loads no other. */
const VERBS: ReadonlyArray<readonly [verbs: string, load: () => Promise<Add>]> = [
  ['demo', async () => (await import('./verbs/demo.ts')).addDemo],
  ['dev', async () => (await import('./verbs/dev.ts')).addDev],
  ['create', async () => (await import('./verbs/create.ts')).addCreate],
  ['import', async () => (await import('./verbs/import.ts')).addImport],
  ['methods', async () => (await import('./verbs/methods.ts')).addMethods],
  ['manifest', async () => (await import('./verbs/manifest.ts')).addManifest],
  ['validate', async () => (await import('./verbs/validate.ts')).addValidate],
  ['submit', async () => (await import('./verbs/submit.ts')).addSubmit],
  ['watch', async () => (await import('./verbs/watch.ts')).addWatch],
  ['status', async () => (await import('./verbs/status.ts')).addStatus],
  ['report', async () => (await import('./verbs/report.ts')).addReport],
  ['cost', async () => (await import('./verbs/cost.ts')).addCost],
  ['budget', async () => (await import('./verbs/budget.ts')).addBudget],
  ['approve reject pause resume cancel rollback remove', async () => (await import('./verbs/steer.ts')).addSteering],
  ['schedule', async () => (await import('./verbs/schedule.ts')).addSchedule],
  ['pull', async () => (await import('./verbs/pull.ts')).addPull],
  ['merge', async () => (await import('./verbs/merge.ts')).addMerge],
  ['bank', async () => (await import('./verbs/bank.ts')).addBank],
  ['predict', async () => (await import('./verbs/predict.ts')).addPredict],
  ['worker', async () => (await import('./verbs/worker.ts')).addWorker],
  ['listen', async () => (await import('./verbs/listen.ts')).addListen],
  ['doctor', async () => (await import('./verbs/doctor.ts')).addDoctor],
];

/** The command line: with one verb, or, for help and for words that are none, with all of them. */
export async function buildProgram(verb?: string): Promise<Command> {
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
  const wanted = VERBS.filter(([verbs]) => verb !== undefined && verbs.split(' ').includes(verb));
  for (const [, load] of wanted.length > 0 ? wanted : VERBS) (await load())(program);
  for (const command of program.commands) command.exitOverride();
  return program;
}

/** Runs one command line and gives the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const program = await buildProgram(args[0]);
  try {
    if (args.length === 0) {
      program.outputHelp({ error: true });
      return MISUSE;
    }
    await program.parseAsync([...args], { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : DONE;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : MISUSE;
    const { readable } = await import('./failures.ts');
    process.stderr.write(`${readable(error, process.env['LILORA_DEBUG'] !== undefined)}\n`);
    return FAILED;
  }
}
