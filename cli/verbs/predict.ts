import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { localFile } from '../../activities/context.ts';
import type { AdapterSource, PredictResult, RouteResult, RouterFiles } from '../../activities/engine.ts';
import { folderDigest, modelFolder } from '../../activities/model-folder.ts';
import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import { parseJson } from '../../core/json.ts';
import { methodNamed } from '../../learning/methods/registry.ts';
import { routingPath, streamKeys } from '../../store/generations.ts';
import { openStore } from '../../store/open.ts';
import { PEFT_FILES } from '../../store/peft.ts';
import { readPeftConfig } from '../../store/peft-config.ts';
import { readPeftFolder } from '../../store/peft-folder.ts';
import type { ResolvedStream } from '../../workflows/contract.ts';
import { namedModel } from '../base-model.ts';
import { verbSettings } from '../connect.ts';
import { holdsAdapter, mustKnowTask, published } from '../generations.ts';
import { otherBase, otherTemplate } from '../other-base.ts';
import { note, result, resultJson } from '../output.ts';
import { wholeNumber } from './create.ts';
import { pullAdapter } from './pull.ts';

interface Options {
  readonly task?: string;
  readonly generation?: number;
  readonly model?: string;
  readonly adapter?: string;
  readonly image?: readonly string[];
  readonly raw?: boolean;
  readonly maxNewTokens: number;
  readonly json?: boolean;
}

/** What a prediction runs on: local folders. */
interface Parts {
  readonly model: { readonly folder: string; readonly digest: string };
  readonly adapter: AdapterSource;
  /** Where a router chooses the task: what it needs, and how to get the adapter of its choice. */
  readonly routed?: { readonly routing: RouterFiles; adapterOf(task: string): Promise<AdapterSource> };
}

export function addPredict(program: Command): void {
  const predict = program
    .command('predict')
    .description('Answers a prompt with a published generation, or with a model folder and no server at all.')
    .usage('[options] STREAM PROMPT, or: --model DIR [options] PROMPT')
    .argument('<stream>', 'not with --model')
    .argument('[prompt]', 'with one <image> marker per image, or they come first')
    .option(
      '--task <name>',
      'the task whose adapter answers; where a method needs it and it is not given, the router of the stream chooses, or the base model answers',
    )
    .option('--generation <n>', 'not the current generation but this one', wholeNumber)
    .option(
      '--model <dir>',
      'a model instead of a stream: a local folder, or org/name[@revision] of the Hugging Face hub',
    )
    .option('--adapter <dir>', 'a local PEFT adapter for it')
    .option('--image <file>', 'an image; repeat it for more', (file: string, files?: string[]) => [
      ...(files ?? []),
      file,
    ])
    .option('--raw', 'take the prompt as it is, without the chat template')
    .option('--max-new-tokens <n>', 'longest answer', wholeNumber, DEFAULTS['predict.maxNewTokens'].value)
    .option('--json', 'text, tokens and their log-probabilities, and the task that a router chose, as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora predict pets --task dogs --image rex.jpg "Which breed is it?"
  $ lilora predict pets --image rex.jpg "Which breed is it?"
  $ lilora predict --model ./examples/base-model --image a.png "Describe the picture."
  $ lilora predict --model ./model --adapter ./adapters/dogs --raw --json "USER: <image>\\nWhich breed? ASSISTANT:"`,
    )
    .action(async (...given: unknown[]) => {
      const [first, second] = given as [string | undefined, string | undefined];
      const options = predict.opts<Options>();
      // `lilora predict --model DIR PROMPT`: the only argument is the prompt.
      const [stream, prompt] = second === undefined ? [undefined, first] : [first, second];
      if ((stream === undefined) === (options.model === undefined))
        predict.error('error: give STREAM and PROMPT, or --model DIR and PROMPT', { exitCode: 2 });
      if (options.model === undefined && options.adapter !== undefined)
        predict.error('error: --adapter goes with --model; on a stream use --task', { exitCode: 2 });
      const images = (options.image ?? []).map((file) => resolve(file));
      for (const file of images)
        if (!(await stat(file).catch(() => null))?.isFile())
          throw new LiloraError('NotFound', `${file}: no such file. Name an image with --image.`);
      const temporary = await mkdtemp(join(tmpdir(), 'lilora-predict-'));
      try {
        const parts =
          options.model === undefined
            ? await fromStream(stream!, options, temporary)
            : await fromFolder(options.model, options);
        const answer = await answerPrompt(parts, prompt!, images, options);
        if (options.json) resultJson(answer);
        else result(answer.text);
      } finally {
        await rm(temporary, { recursive: true, force: true });
      }
    });
}

async function fromFolder(model: string, { adapter, raw }: Options): Promise<Parts> {
  const found = adapter === undefined ? null : { folder: resolve(adapter) };
  // A large model takes long: what is wrong with the adapter is said before.
  const settings =
    found && readPeftConfig((await readPeftFolder(found.folder)).config, join(found.folder, PEFT_FILES.config));
  const { folder, base } = await namedModel(model, { weights: true });
  const told = [
    settings && otherBase(settings, model, base.revision),
    found && !raw && (await otherTemplate(found.folder, folder)),
  ];
  for (const each of told) if (each) note(each);
  return { model: { folder, digest: await folderDigest(folder) }, adapter: found };
}

async function fromStream(stream: string, options: Options, temporary: string): Promise<Parts> {
  const settings = await verbSettings();
  const store = openStore(settings.store);
  const key = streamKeys(stream).definition;
  if (!(await store.head(key)))
    throw new LiloraError('NotFound', `There is no stream ${stream}. See \`lilora status\`.`);
  const { model: wanted, method, router } = parseJson((await store.get(key)).bytes, key) as ResolvedStream;
  const context = { store, openPlace: async (uri: string) => openStore(uri), cache: settings.cache, codeVersion: '' };
  const model = await modelFolder(context, wanted.uri, wanted.digest, { weights: true });
  const { needsTask } = methodNamed(method.name);
  if (options.task === undefined && router === undefined && needsTask) {
    note('No --task, and the stream has no router: the base model answers.');
    return { model, adapter: null };
  }
  const generation = await published(store, stream, options.generation);
  const adapterOf = async (task: string): Promise<AdapterSource> => {
    mustKnowTask(generation, task);
    return holdsAdapter(generation, task)
      ? { folder: (await pullAdapter(store, stream, generation, task, temporary)).folder }
      : { bank: await localFile(context, generation.file('bank.safetensors')), task };
  };
  // Where no task need be named, all are the same.
  const task = options.task ?? (needsTask ? undefined : generation.tasks.at(-1));
  if (task !== undefined) return { model, adapter: await adapterOf(task) };
  const tasks = await Promise.all(
    generation.tasks.map(async (task) => ({
      task,
      statistics: await localFile(context, generation.file(routingPath(task))),
    })),
  );
  return { model, adapter: null, routed: { routing: { router: router!, tasks }, adapterOf } };
}

async function answerPrompt(
  { model, adapter, routed }: Parts,
  prompt: string,
  images: string[],
  options: Options,
): Promise<PredictResult & { route?: RouteResult }> {
  const { Jobs } = await import('../../workers/engine/jobs.ts');
  // One answer gains nothing from oneDNN, and its notice, which no setting silences, would stand among our own words.
  process.env['TF_ENABLE_ONEDNN_OPTS'] ??= '0';
  const jobs = await Jobs.open();
  const hooks = { signal: new AbortController().signal, onProgress: () => {} };
  const asked = { model, prompt, images, raw: options.raw ?? false };
  const { maxNewTokens } = options;
  if (!routed) return jobs.run('predict', { ...asked, adapter, maxNewTokens }, hooks);
  const route = await jobs.run('route', { ...asked, routing: routed.routing }, hooks);
  note(`The router chose task ${route.task}.`);
  const chosen = await routed.adapterOf(route.task);
  return { ...(await jobs.run('predict', { ...asked, adapter: chosen, maxNewTokens }, hooks)), route };
}
