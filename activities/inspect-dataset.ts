import { datasetVersion, readManifest } from '../datasets/manifest.ts';
import type { DataContext } from './context.ts';
import { datasetFolder, openDataset } from './dataset-place.ts';

/** Name and version (digest of the canonical manifest) of a dataset, from `dataset.json` alone: cheap enough to answer a submission. */
export async function inspectDataset(
  context: DataContext,
  { dataset }: { stream: string; dataset: string },
): Promise<{ name: string; digest: string; uri: string }> {
  const source = await openDataset(context, dataset);
  const manifest = await readManifest(source);
  return { name: manifest.name, digest: datasetVersion(manifest), uri: datasetFolder(dataset) };
}
