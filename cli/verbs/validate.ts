import { constants } from 'node:fs';
import { access, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { datasetFolder, openDataset } from '../../activities/dataset-place.ts';
import { LiloraError } from '../../core/errors.ts';
import { localFolder } from '../../datasets/local-folder.ts';
import { type LookOptions, lookAt } from '../../datasets/look/view.ts';
import { openProcessor } from '../../datasets/processor/processor.ts';
import { type CheckedDataset, checkDataset, type DatasetSource, inTemporaryFolder } from '../../datasets/validate.ts';
import { scorerNamed } from '../../learning/evaluation/scorers.ts';
import { datasetPage } from '../../report/dataset/page.ts';
import { table } from '../../report/terminal.ts';
import { openStore } from '../../store/open.ts';
import { localModel } from '../base-model.ts';
import { adoptEnvironment } from '../connect.ts';
import { datasetNotes } from '../dataset-notes.ts';
import { note, result, resultJson } from '../output.ts';

interface ValidateFlags {
  readonly model?: string;
  readonly html?: string;
  readonly json?: boolean;
}

/** Validates a dataset and writes the page that shows it, of one that is refused, too. */
async function shown(
  source: DatasetSource,
  folder: string,
  file: string,
  model: LookOptions['model'],
): Promise<CheckedDataset> {
  // Known before a long look, not after it.
  await access(dirname(resolve(file)), constants.W_OK).catch((cause: unknown) => {
    throw new LiloraError(
      'BadConfig',
      `${file}: its folder is not there, or cannot be written to. Name another file.`,
      {
        cause,
      },
    );
  });
  const check: LookOptions['check'] = ({ metric }) => void scorerNamed(metric);
  const { view, dataset, refused } = await lookAt(source, folder, { model, check });
  await writeFile(file, datasetPage(view));
  note(`${file} shows the dataset.`);
  if (refused) throw refused;
  return dataset;
}

export function addValidate(program: Command): void {
  program
    .command('validate')
    .description('Says what a dataset holds, or exactly what is wrong with it. Needs no server for a local one.')
    .argument('<dataset>', 'dataset.json or its folder: local, or s3://bucket/prefix')
    .option(
      '--model <folder>',
      'also check that every prompt fits into this base model: a local folder, or org/name[@revision] of the hub',
    )
    .option('--html <file>', 'also write a page that shows it: counts, lengths, answers, pictures, some samples')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora validate ./dogs
  $ lilora validate s3://data/cats --model ./examples/base-model
  $ lilora validate ./dogs --model ./examples/base-model --html dogs.html`,
    )
    .action(async (dataset: string, { model, html, json }: ValidateFlags) => {
      adoptEnvironment();
      const source = dataset.includes('://')
        ? await openDataset({ openPlace: async (uri) => openStore(uri) }, dataset)
        : localFolder(resolve(datasetFolder(dataset) || '.'));
      const processor =
        model === undefined ? undefined : await openProcessor(await localModel(model, { weights: false }));
      const { splits, images, ...facts } = await inTemporaryFolder(async (folder) => {
        const checked =
          html === undefined
            ? await checkDataset(source, folder, { processor })
            : await shown(source, folder, html, processor && { name: model!, processor });
        return { ...checked, splits: await counted(checked.splits) };
      });
      const { manifest, digest, leftOut, leftOutKeys, renamed, alike, unused } = facts;
      scorerNamed(manifest.metric);
      const found = {
        ok: true,
        name: manifest.name,
        kind: manifest.kind,
        metric: manifest.metric,
        licence: manifest.licence,
        digest,
      };
      const notes = { leftOut, leftOutKeys, renamed, alike, unused };
      if (json) return resultJson({ ...found, splits, ...notes, distinctImages: images.size });
      result(
        [
          `${manifest.name}: a good dataset.`,
          `kind ${manifest.kind}, scored by ${manifest.metric}, licence ${manifest.licence}`,
          `digest ${digest}, ${images.size} different images`,
          ...datasetNotes(facts),
          '',
          table([
            ['split', 'samples', 'turns', 'images'],
            ...splits.map(({ split, ...n }) => [split, ...Object.values(n).map(String)]),
          ]),
        ].join('\n'),
      );
    });
}

async function counted(splits: CheckedDataset['splits']) {
  const counts: { split: string; samples: number; turns: number; images: number }[] = [];
  for (const [split, list] of Object.entries(splits)) {
    const count = { split, samples: list.length, turns: 0, images: 0 };
    for await (const { turns, images } of list) {
      count.turns += turns.length;
      count.images += images.length;
    }
    counts.push(count);
  }
  return counts;
}
