import type { DatasetView } from '../../core/dataset-view.ts';
import { isLiloraError, type LiloraError } from '../../core/errors.ts';
import { type Manifest, readManifest } from '../manifest.ts';
import { RefusedDataset } from '../problems.ts';
import type { DatasetSource } from '../source.ts';
import { type CheckedDataset, type Counted, checkDataset, type Encoder } from '../validate.ts';
import { Look } from './look.ts';
import { picturesView } from './pictures.ts';
import type { Shower } from './sample-view.ts';

/** Entries of every list on the page. */
const LISTED = 100;

export interface LookOptions {
  /** A base model, as people name it. */
  readonly model?: { readonly name: string; readonly processor: Encoder & Shower } | undefined;
  /** Throws what else is wrong with a dataset that is good by itself. */
  readonly check?: (manifest: Manifest) => void;
}

/** A dataset as a person looks at it, and what validation said: the dataset, or why it is refused. */
export type Looked = { readonly view: DatasetView } & (
  | { readonly dataset: CheckedDataset; readonly refused: null }
  | { readonly dataset: null; readonly refused: LiloraError }
);

/**
 * Validates a dataset and gathers meanwhile what there is to see. A dataset that is refused is shown with what was read of it.
 * @param folder as of `checkDataset`
 */
export async function lookAt(
  source: DatasetSource,
  folder: string,
  { model, check }: LookOptions = {},
): Promise<Looked> {
  const look = new Look();
  const { onSample, onTokens } = look;
  const outcome = await reached(async () => {
    const dataset = await checkDataset(source, folder, { processor: model?.processor, onSample, onTokens });
    check?.(dataset.manifest);
    return dataset;
  });
  const dataset = 'value' in outcome ? outcome.value : null;
  const manifest = dataset?.manifest ?? (await manifestOf(source));
  const refused = 'error' in outcome ? outcome.error : null;
  const problems =
    refused === null ? [] : refused instanceof RefusedDataset ? refused.problems : [{ text: refused.message }];
  const known = dataset && { images: dataset.images, model: model?.processor };
  const view: DatasetView = {
    name: manifest?.name ?? source.describe(),
    place: source.describe(),
    madeAt: new Date().toISOString(),
    ...(manifest && { manifest: factsOf(manifest) }),
    digest: dataset?.digest ?? null,
    model: model ? { name: model.name, contextLength: model.processor.contextLength } : null,
    problems: problems.slice(0, LISTED),
    moreProblems: Math.max(0, problems.length - LISTED),
    ...look.counts(),
    pictures: dataset && picturesView(dataset.images),
    samples: manifest ? await look.samples(source, manifest, known) : [],
    leftOut: shown(dataset?.leftOut ?? []),
    keys: dataset?.leftOutKeys ?? [],
    renamedIds: some(dataset?.renamed),
    alike: dataset?.alike ?? [],
    unusedFiles: some(dataset?.unused),
  };
  if (dataset) return { view, dataset, refused: null };
  return { view, dataset: null, refused: refused! };
}

const some = <T>(counted?: Counted<T>) => ({ count: counted?.count ?? 0, shown: counted?.examples ?? [] });
const shown = <T>(list: readonly T[]) => ({ count: list.length, shown: list.slice(0, LISTED) });

const factsOf = ({ kind, metric, licence, source }: Manifest) => ({ kind, metric, licence, source });

/** What is said of the data; every other failure is thrown. */
async function reached<T>(run: () => Promise<T>): Promise<{ readonly value: T } | { readonly error: LiloraError }> {
  try {
    return { value: await run() };
  } catch (error) {
    if (isLiloraError(error, 'BadDataset') || isLiloraError(error, 'NotFound')) return { error };
    throw error;
  }
}

async function manifestOf(source: DatasetSource): Promise<Manifest | null> {
  const outcome = await reached(() => readManifest(source));
  return 'value' in outcome ? outcome.value : null;
}
