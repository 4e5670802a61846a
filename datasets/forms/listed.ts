import { type Manifest, SPLITS, samplesOf } from '../manifest.ts';

const listed = new WeakMap<Manifest, ReadonlySet<string>>();

/** Files of the dataset but those that hold samples. */
export function listedIn(manifest: Manifest): ReadonlySet<string> {
  const known = listed.get(manifest);
  if (known) return known;
  const paths = new Set(manifest.files.map(({ path }) => path));
  for (const split of SPLITS) for (const path of samplesOf(manifest, split)) paths.delete(path);
  listed.set(manifest, paths);
  return paths;
}
