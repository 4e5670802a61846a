import { constants } from 'node:fs';
import { lstat, open, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { LiloraError } from '../core/errors.ts';
import { hubLink, LINK } from './hub-links.ts';
import { openedFile } from './opened-file.ts';
import { type DatasetSource, pathProblem } from './source.ts';

/** A dataset in a folder of this machine. No symbolic link inside it is followed but those of the Hub's cache to its own blobs. */
export function localFolder(folder: string): DatasetSource {
  let known: Promise<string> | null = null;
  const root = () => {
    known ??= realRoot(folder).catch((error: unknown) => {
      known = null;
      throw error;
    });
    return known;
  };
  return {
    describe: () => folder,
    async read(path, accept) {
      const { file, size } = await plainFile(folder, path, root);
      accept?.(size);
      // O_NOFOLLOW: the file may have been replaced by a link since it was looked at.
      const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
      try {
        const bytes = new Uint8Array(size);
        const { bytesRead } = await handle.read(bytes, 0, size, 0);
        return bytesRead === size ? bytes : new Uint8Array(await handle.readFile());
      } finally {
        await handle.close();
      }
    },
    async open(path, _spool, accept) {
      const { file, size } = await plainFile(folder, path, root);
      accept?.(size);
      return openedFile(await open(file, constants.O_RDONLY | constants.O_NOFOLLOW), path);
    },
  };
}

/** The real path and size of a plain file inside a folder; `BadDataset` for links and ways out, `NotFound` when there is none. */
export async function plainFile(
  folder: string,
  path: string,
  rootOf = () => realRoot(folder),
): Promise<{ file: string; size: number }> {
  const problem = pathProblem(path);
  if (problem) throw new LiloraError('BadDataset', `${JSON.stringify(path)}: ${problem}`);
  const root = await rootOf();
  const plain = join(root, path);
  // Without a link on the way a real path is the path itself: two calls instead of one for every part of it.
  if ((await realpath(plain).catch(() => null)) === plain) {
    const stat = await lstat(plain);
    if (stat.isFile()) return { file: plain, size: stat.size };
  }
  let file = root;
  let size = 0;
  const parts = path.split('/');
  for (const [i, part] of parts.entries()) {
    file = join(file, part);
    const stat = await lstat(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR' && error.code !== 'ENAMETOOLONG') throw error;
      throw new LiloraError('NotFound', `${path}: no such file in ${folder}. Add it, or remove what refers to it.`, {
        cause: error,
      });
    });
    if (stat.isSymbolicLink()) {
      const blob = i === parts.length - 1 ? await hubLink(root, file) : null;
      if (blob) return blob;
      throw new LiloraError('BadDataset', `${path}: ${LINK}`);
    }
    if (i === parts.length - 1 && !stat.isFile()) {
      throw new LiloraError('BadDataset', `${path}: not a plain file. Put a file there.`);
    }
    size = stat.size;
  }
  const real = await realpath(file);
  if (!real.startsWith(root + sep)) {
    throw new LiloraError('BadDataset', `${path}: lies outside ${folder}. Put the file inside the dataset folder.`);
  }
  return { file, size };
}

async function realRoot(folder: string): Promise<string> {
  return realpath(folder).catch((error: NodeJS.ErrnoException) => {
    throw new LiloraError('NotFound', `${folder}: no such folder. Check the path.`, { cause: error });
  });
}
