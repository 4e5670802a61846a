import { DEFAULTS } from '../core/defaults.ts';
import { datasetVersion, readManifest } from '../datasets/manifest.ts';
import type { DataContext } from './context.ts';
import { datasetFolder, openDataset } from './dataset-place.ts';

export interface InspectedDataset {
  readonly name: string;
  /** Its version: digest of the canonical manifest. */
  readonly digest: string;
  readonly uri: string;
  /** It is small enough to be fetched while a gpu worker starts. */
  readonly soon?: boolean;
}

/** What `dataset.json` alone tells of a dataset: cheap enough to answer a submission. */
export async function inspectDataset(
  context: DataContext,
  { dataset }: { stream: string; dataset: string },
): Promise<InspectedDataset> {
  const source = await openDataset(context, dataset);
  const manifest = await readManifest(source);
  const { name, files } = manifest;
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  const soon =
    files.length <= DEFAULTS['fetch.soonFiles'].value && bytes <= DEFAULTS['fetch.soonMebibytes'].value * 2 ** 20;
  return { name, digest: datasetVersion(manifest), uri: datasetFolder(dataset), soon };
}
