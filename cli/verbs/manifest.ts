import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { LiloraError } from '../../core/errors.ts';
import { chooseSplits } from '../../datasets/choose-splits.ts';
import { KINDS, type Manifest, SPLITS, type SplitName } from '../../datasets/manifest.ts';
import { MANIFEST_FILE } from '../../datasets/source.ts';
import { plainFiles, writeManifest } from '../../datasets/write-manifest.ts';
import { scorerNamed } from '../../learning/evaluation/scorers.ts';
import { note, result, resultJson } from '../output.ts';

interface Options extends Partial<Record<SplitName, readonly string[]>> {
  readonly metric: string;
  readonly licence: string;
  readonly source: string;
  readonly name?: string;
  readonly kind: Manifest['kind'];
  readonly format?: string;
  readonly question?: string;
  readonly images?: string;
  readonly config?: string;
  readonly column?: readonly string[];
  readonly ignore?: readonly string[];
  readonly reasoning?: Manifest['reasoning'];
  readonly marker?: string;
  readonly specialTokens?: true;
  readonly json?: boolean;
}

export function addManifest(program: Command): void {
  const manifest = program
    .command('manifest')
    .description(
      `Writes ${MANIFEST_FILE} into a folder of your own: every file with its size and digest, splits by their names.`,
    )
    .argument('<folder>', 'with samples files or folders of images, as docs/datasets.md shows them')
    .requiredOption('--metric <name>', 'how answers are scored, for example exact')
    .requiredOption('--licence <text>', 'under what terms the data may be used')
    .requiredOption('--source <text>', 'where the data comes from')
    .option('--name <name>', "name of the dataset and its task (default: the folder's)")
    .addOption(new Option('--kind <kind>', 'what an answer looks like').choices(KINDS).default('open'))
    .option('--format <name>', 'format of the samples files, where it cannot be told')
    .option('--question <text>', 'what is asked about every image, where the samples hold no questions')
    .option('--images <folder>', 'folder from which paths of images count, where it is not the folder itself')
    .option(
      '--column <what=name...>',
      'columns that are not called as usual: question=ask answer=breed image=left,right (see docs/datasets.md)',
    )
    .option('--ignore <key...>', 'keys of samples that are left out on purpose')
    .addOption(
      new Option('--reasoning <how>', 'what becomes of what an assistant thought').choices(['learn', 'leave-out']),
    )
    .option('--marker <text>', 'what marks a picture in the texts, where it is not <image>')
    .option('--special-tokens', "texts may use the model's own special tokens")
    .option('--config <name>', 'which configuration is meant, where a dataset of the Hub has several');
  for (const split of SPLITS)
    manifest.option(`--${split} <path...>`, `samples of the ${split} split: files, or a folder of images`);
  manifest
    .option('--json', 'the manifest as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora manifest ./dogs --metric exact --kind classification --question "Which breed is it?" \\
      --licence CC-BY-4.0 --source https://example.org/dogs
  $ lilora manifest ./hub-snapshot --metric vqa --test data/validation-00000-of-00001.parquet --licence MIT --source the hub
  $ lilora manifest ./gsm8k --config main --metric exact --licence MIT --source the hub
  $ lilora manifest ./vqa --column question=ask image=left,right --ignore hint --metric exact --licence MIT --source made
  $ lilora manifest ./llava --images coco/train2017 --metric cider --licence CC-BY-4.0 --source made`,
    )
    .action(async (folder: string, options: Options) => {
      const root = resolve(folder);
      if (await stat(join(root, MANIFEST_FILE)).catch(() => null))
        throw new LiloraError('BadConfig', `${join(root, MANIFEST_FILE)} is there already. Remove it first.`);
      scorerNamed(options.metric);
      const { metric, kind, licence, source, format, question } = options;
      const images = options.images?.replace(/^\.\//, '').replace(/\/+$/, '');
      const { config } = options;
      const splits = await chooseSplits(root, await plainFiles(root, ''), { config, named: options, note });
      const written = await writeManifest(root, {
        name: options.name ?? nameOf(root),
        kind,
        metric,
        ...(format !== undefined && { format }),
        ...(question !== undefined && { question }),
        ...(images && { images }),
        ...(options.column && { columns: columnsOf(options.column) }),
        ...(options.ignore && { ignore: [...options.ignore] }),
        ...(options.reasoning && { reasoning: options.reasoning }),
        ...(options.marker !== undefined && { marker: options.marker }),
        ...(options.specialTokens && { specialTokens: true as const }),
        splits,
        licence,
        source,
      });
      if (options.json) return resultJson(written);
      const samples = SPLITS.flatMap((split) => {
        const places = [written.splits[split]?.samples ?? []].flat();
        return places.length === 0
          ? []
          : [`  ${split}: ${places.slice(0, 3).join(', ')}${places.length > 3 ? ', …' : ''}`];
      });
      result([`${join(root, MANIFEST_FILE)}: ${written.name}, ${written.files.length} files`, ...samples].join('\n'));
      note(`Check it with \`lilora validate ${folder}\`.`);
    });
}

/** `question=ask image=left,right` as `columns` of the manifest, which checks the names. */
function columnsOf(pairs: readonly string[]): NonNullable<Manifest['columns']> {
  const entries = pairs.map((pair): [string, string | string[]] => {
    const [, what, name] = /^([a-z]+)=(.+)$/s.exec(pair) ?? [];
    if (!what || !name)
      throw new LiloraError('BadConfig', `--column "${pair}": write what it is and its name, as in question=ask.`);
    return [what, what === 'image' && name.includes(',') ? name.split(',') : name];
  });
  return Object.fromEntries(entries);
}

/** The name of a folder as the name of a dataset. */
function nameOf(root: string): string {
  const name = basename(root)
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
    .slice(0, 63);
  return name === '' ? 'dataset' : name;
}
