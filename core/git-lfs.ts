import { type ErrorName, LiloraError } from './errors.ts';

/** No pointer is larger (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md). */
export const LARGEST_POINTER = 1024;

const FIRST_LINE = 'version https://git-lfs.github.com/spec/';

/**
 * A clone without Git LFS has a few lines of text in the place of every large file. Such a file is refused for what it is.
 * @param file named in the message
 */
export function refusePointer(bytes: Uint8Array | string, file: string, errorName: ErrorName = 'IntegrityError'): void {
  if (bytes.length >= LARGEST_POINTER) return;
  const text = typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('latin1');
  if (!text.startsWith(FIRST_LINE)) return;
  const size = /^size (\d+)$/m.exec(text)?.[1];
  const what = `a Git LFS pointer to ${size === undefined ? 'the file' : `${size} bytes`}, not the file itself`;
  throw new LiloraError(
    errorName,
    `${file}: ${what}. Fetch the files: run git lfs pull in the clone, or hf download ORG/NAME --local-dir FOLDER.`,
  );
}
