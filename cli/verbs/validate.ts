import { resolve } from 'node:path';
import type { Command } from 'commander';
import { datasetFolder, openDataset } from '../../activities/dataset-place.ts';
import { localFolder } from '../../datasets/local-folder.ts';
import { openProcessor } from '../../datasets/processor/processor.ts';
import { validateDataset } from '../../datasets/validate.ts';
import { scorerNamed } from '../../learning/evaluation/scorers.ts';
import { table } from '../../report/terminal.ts';
import { openStore } from '../../store/open.ts';
import { localModel } from '../base-model.ts';
import { adoptEnvironment } from '../connect.ts';
import { result, resultJson } from '../output.ts';

export function addValidate(program: Command): void {
  program
    .command('validate')
    .description('Says what a dataset holds, or exactly what is wrong with it. Needs no server for a local one.')
    .argument('<dataset>', 'dataset.json or its folder: local, or s3://bucket/prefix')
    .option(
      '--model <folder>',
      'also check that every prompt fits into this base model: a local folder, or org/name[@revision] of the hub',
    )
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora validate ./dogs
  $ lilora validate s3://data/cats --model ./examples/base-model`,
    )
    .action(async (dataset: string, { model, json }: { model?: string; json?: boolean }) => {
      adoptEnvironment();
      const source = dataset.includes('://')
        ? await openDataset({ openPlace: async (uri) => openStore(uri) }, dataset)
        : localFolder(resolve(datasetFolder(dataset) || '.'));
      const processor =
        model === undefined ? undefined : await openProcessor(await localModel(model, { weights: false }));
      const { manifest, digest, splits, leftOut, leftOutKeys, images } = await validateDataset(source, { processor });
      scorerNamed(manifest.metric);
      const counts = Object.entries(splits).map(([split, samples]) => ({
        split,
        samples: samples.length,
        turns: samples.reduce((sum, { turns }) => sum + turns.length, 0),
        images: samples.reduce((sum, sample) => sum + sample.images.length, 0),
      }));
      const found = {
        ok: true,
        name: manifest.name,
        kind: manifest.kind,
        metric: manifest.metric,
        licence: manifest.licence,
        digest,
      };
      if (json) return resultJson({ ...found, splits: counts, leftOut, leftOutKeys, distinctImages: images.size });
      result(
        [
          `${manifest.name}: a good dataset.`,
          `kind ${manifest.kind}, scored by ${manifest.metric}, licence ${manifest.licence}`,
          `digest ${digest}, ${images.size} different images`,
          ...leftOutKeys.map(
            ({ key, why, samples, where }) =>
              `not read: ${key} (${why === 'ignore' ? 'by "ignore"' : why}), in ${samples} samples from ${where} on`,
          ),
          ...leftOut.map(({ why }) => `left out of training: ${why}`),
          '',
          table([
            ['split', 'samples', 'turns', 'images'],
            ...counts.map(({ split, ...n }) => [split, ...Object.values(n).map(String)]),
          ]),
        ].join('\n'),
      );
    });
}
