/**
 * Where the files of one dataset are read from: a folder, or a prefix of an object store. Paths are relative to the
 * folder of `dataset.json`, with forward slashes. Implementations refuse paths that leave that folder (`BadDataset`),
 * say `NotFound` when there is no such file, and use their own errors when the store fails.
 */
export interface DatasetSource {
  /** What a person calls this place: a path or a URI. Used in messages. */
  describe(): string;
  /** All bytes of a file. What `accept` throws, given the size in bytes, ends it before anything is read. */
  read(path: string, accept?: (size: number) => void): Promise<Uint8Array>;
  /**
   * Opens a file of any size to be read by ranges. It is read through once, which gives its digest; from then on what the
   * digest was taken of is read, and nothing else. Whoever opened it closes it.
   * @param spool a path of this machine where a copy may be kept until then; nothing may be there yet
   * @param accept as in `read`
   */
  open(path: string, spool: string, accept?: (size: number) => void): Promise<OpenedFile>;
}

/** A file on this machine, and the digest of what is read from it. */
export interface OpenedFile {
  /** In bytes. */
  readonly size: number;
  readonly sha256: string;
  /** The bytes from `start` on, before `end`; both must lie within the file. */
  slice(start: number, end: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Name of the manifest inside a dataset. */
export const MANIFEST_FILE = 'dataset.json';

/**
 * What is wrong with a path written inside a dataset, or null when it is a plain relative path. Everything that could
 * lead out of the dataset is wrong: absolute paths, drive letters, URLs, backslashes, `.` and `..`.
 */
export function pathProblem(path: string): string | null {
  if (path === '') return 'the path is empty';
  if (path.length > 1024) return 'the path is longer than 1024 characters';
  if (/^[a-zA-Z][a-zA-Z0-9+.-]*:/.test(path))
    return 'is a URL or has a drive letter; only files of the dataset are read';
  if (path.startsWith('/') || path.startsWith('~')) return 'is an absolute path; use a path relative to dataset.json';
  if (path.includes('\\')) return 'has a backslash; use forward slashes';
  if (/\p{Cc}/u.test(path)) return 'has a control character';
  const parts = path.split('/');
  if (parts.includes('..')) return 'leaves the dataset with ".."; put the file inside the dataset folder';
  if (parts.includes('') || parts.includes('.'))
    return 'has an empty or "." part; write it plainly, as in images/1.png';
  return null;
}
