import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { LiloraError } from '../../core/errors.ts';
import { parseJson } from '../../core/json.ts';
import { DEFINITION_FIELDS, type StreamDefinition } from '../../workflows/contract.ts';
import { baseNamed } from '../base-model.ts';
import { verbSettings, withClient } from '../connect.ts';
import { LiveLine, result, resultJson } from '../output.ts';
import { checkReadable, type StartOptions, startFrom } from '../start-bank.ts';
import { createStream } from '../streams.ts';
import { reachableModel } from '../upload.ts';

interface Options extends Partial<StartOptions> {
  readonly model: string;
  readonly method?: string;
  readonly options?: string;
  readonly baseName?: string;
  readonly seed?: number;
  readonly json?: boolean;
}

export function addCreate(program: Command): void {
  program
    .command('create')
    .description('Defines a stream: one base model, one method. Doing it again in the same words changes nothing.')
    .argument('<stream>', 'name: a-z, 0-9 and -')
    .requiredOption(
      '--model <uri>',
      'base model: s3://bucket/prefix; or a local folder, or org/name[@revision] of the Hugging Face hub, which are copied into the store',
    )
    .option(
      '--base-name <name>',
      'what servers call the base model, org/name[@revision]: adapters name it (default: its id on the hub, or the name of its folder)',
    )
    .option('--method <name>', 'how it learns (default: lilora)')
    .option(
      '--options <file>',
      'JSON file with the rest of the definition: options, targets, training, evaluation, gate, router, limits, gpuQueue, prices, budget',
    )
    .option('--seed <n>', 'seed of everything random', wholeNumber)
    .option(
      '--start <bank>',
      'go on from tasks learned elsewhere: a bank.safetensors, or a folder with one or with a PEFT adapter',
    )
    .option('--start-task <name>', 'the task that a PEFT adapter is (default: the name of its folder)')
    .option(
      '--start-data <task=dataset...>',
      'datasets of tasks in the bank: evaluated first, then guarded by the gate',
    )
    .option('--json', 'the resolved definition as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora create pets --model s3://models/llava-1.5-7b-hf
  $ lilora create pets --model ./examples/base-model --method lilora --options pets.json
  $ lilora create more --model s3://models/llava-1.5-7b-hf --start ./vqav2 --start-data gqa=s3://data/gqa
  pets.json: {"options": {"rank": 16}, "training": {"epochs": 3}, "gate": {"whenOver": "ask"}}`,
    )
    .action(async (stream: string, options: Options) => {
      const settings = await verbSettings();
      const file = options.options ? await readDefinition(options.options) : {};
      const named = options.baseName === undefined ? {} : { base: baseNamed(options.baseName) };
      if (options.start !== undefined) await checkReadable(options.start);
      const live = new LiveLine();
      const reached = await reachableModel(options.model, settings.store, (done, total) =>
        live.update('copying the model into the store', `${done} of ${total} files`),
      );
      const method = options.method ?? file.method;
      const { start } = options;
      const started =
        start === undefined
          ? { method }
          : await startFrom(
              { ...options, start },
              { ...file, method },
              { uri: reached.model, named: options.baseName ?? options.model, ...reached.base },
              settings.store,
              (done, total) => live.update('copying datasets into the store', `${done} of ${total} files`),
            );
      live.end();
      if (start === undefined && (options.startTask ?? options.startData))
        throw new LiloraError('BadConfig', '--start-task and --start-data are of a bank: name it with --start.');
      const definition = { ...file, ...started, name: stream, ...reached, ...named, seed: options.seed ?? file.seed };
      const created = await withClient((client) => createStream(client, definition));
      if (options.json) return resultJson(created);
      result(
        `Stream ${stream} is open: method ${created.definition!.method.name}, base model ${created.definition!.model.uri}.`,
      );
      if (created.tasks.length === 0) result(`Give it a dataset: lilora submit ${stream} DATASET --wait`);
    });
}

async function readDefinition(path: string): Promise<Partial<StreamDefinition>> {
  const bytes = await readFile(path).catch((error: Error) => {
    throw new LiloraError('BadConfig', `${path} cannot be read (${error.message}). Name a JSON file.`);
  });
  const value = parseJson(bytes, path, { errorName: 'BadConfig' });
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new LiloraError('BadConfig', `${path}: not an object. See \`lilora create --help\`.`);
  const unknown = Object.keys(value).filter((name) => !DEFINITION_FIELDS.includes(name));
  if (unknown.length > 0)
    throw new LiloraError(
      'BadConfig',
      `${path}: unknown ${unknown.join(', ')}. A definition has ${DEFINITION_FIELDS.join(', ')}.`,
    );
  return value as Partial<StreamDefinition>;
}

/** For commander: a whole number from 0, or misuse. */
export function wholeNumber(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
