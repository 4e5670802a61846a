import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { LiloraError } from '../../core/errors.ts';
import { findSplits } from '../../datasets/find-splits.ts';
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
    .option('--question <text>', 'what is asked about every image, where the samples hold no questions');
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
  $ lilora manifest ./hub-snapshot --metric vqa --test data/validation-00000-of-00001.parquet --licence MIT --source the hub`,
    )
    .action(async (folder: string, options: Options) => {
      const root = resolve(folder);
      if (await stat(join(root, MANIFEST_FILE)).catch(() => null))
        throw new LiloraError('BadConfig', `${join(root, MANIFEST_FILE)} is there already. Remove it first.`);
      scorerNamed(options.metric);
      const { metric, kind, licence, source, format, question } = options;
      const splits = await splitsOf(root, options);
      const written = await writeManifest(root, {
        name: options.name ?? nameOf(root),
        kind,
        metric,
        ...(format !== undefined && { format }),
        ...(question !== undefined && { question }),
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

async function splitsOf(root: string, options: Options): Promise<Manifest['splits']> {
  const named = SPLITS.filter((split) => options[split] !== undefined);
  const found = named.length === SPLITS.length ? {} : findSplits(await plainFiles(root, ''));
  const chosen: Partial<Record<SplitName, readonly string[]>> = { ...found };
  for (const split of named) chosen[split] = options[split];
  if (!chosen.test && chosen.validation) {
    note('There is no test split: the validation split is taken for it.');
    chosen.test = chosen.validation;
    delete chosen.validation;
  }
  const { train, validation, test } = chosen;
  if (!train || !test) {
    const missing = [...(train ? [] : ['--train']), ...(test ? [] : ['--test'])].join(' and ');
    throw new LiloraError(
      'BadDataset',
      `${root}: by their names no files belong to every split. Name them with ${missing}.`,
    );
  }
  const samples = (paths: readonly string[]) => ({ samples: paths.length === 1 ? paths[0]! : [...paths] });
  return { train: samples(train), ...(validation && { validation: samples(validation) }), test: samples(test) };
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
