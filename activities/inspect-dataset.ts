import { DEFAULTS } from '../core/defaults.ts';
import { datasetVersion, type Manifest, readManifest } from '../datasets/manifest.ts';
import { lookAt } from './await-demand.ts';
import type { DataContext } from './context.ts';
import { datasetFolder, openDataset } from './dataset-place.ts';

export interface InspectedDataset {
  readonly name: string;
  /** Its version: digest of the canonical manifest. */
  readonly digest: string;
  readonly uri: string;
  /** No gpu worker lives, and fetching the dataset takes no longer than the start of one. */
  readonly fromZero: boolean;
}

/**
 * What `dataset.json` alone tells of a dataset: cheap enough to answer a submission.
 * @param input.gpuQueue where the stream's gpu workers ask for work; older versions do not say
 */
export async function inspectDataset(
  context: DataContext,
  { dataset, gpuQueue }: { stream: string; dataset: string; gpuQueue?: string },
): Promise<InspectedDataset> {
  const manifest = await readManifest(await openDataset(context, dataset));
  const { name } = manifest;
  const fromZero = gpuQueue !== undefined && isSmall(manifest) && (await hasNoWorker(gpuQueue));
  return { name, digest: datasetVersion(manifest), uri: datasetFolder(dataset), fromZero };
}

/** Fetched within seconds. */
function isSmall({ files }: Manifest): boolean {
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  return files.length <= DEFAULTS['fetch.soonFiles'].value && bytes <= DEFAULTS['fetch.soonMebibytes'].value * 2 ** 20;
}

/** Whether a task queue has no worker; where the server cannot tell, it has. */
const hasNoWorker = (queue: string): Promise<boolean> =>
  lookAt(queue).then(
    ({ workers }) => workers.length === 0,
    () => false,
  );
