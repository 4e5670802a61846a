import { lstat, realpath } from 'node:fs/promises';
import { basename, dirname, join, sep } from 'node:path';

/** Why a link is refused, and what helps. */
export const LINK =
  'a symbolic link, which is not followed. Put the file itself there: `cp -rL FOLDER COPY` copies what links lead to, and `hf download --local-dir` makes none.';

/**
 * The file that a link in the cache of huggingface_hub leads to: from `…/snapshots/REVISION` to `…/blobs` of the same
 * repository and nowhere else; null for every other link.
 * @param root real path of the dataset: a snapshot
 * @param link below it
 */
export async function hubLink(root: string, link: string): Promise<{ file: string; size: number } | null> {
  try {
    const snapshot = await realpath(root);
    const snapshots = dirname(snapshot);
    if (basename(snapshots) !== 'snapshots') return null;
    const file = await realpath(link);
    if (dirname(file) !== join(await realpath(dirname(snapshots)), 'blobs')) return null;
    const stat = await lstat(file);
    return stat.isFile() && !file.startsWith(snapshot + sep) ? { file, size: stat.size } : null;
  } catch {
    return null;
  }
}
