import { fileURLToPath } from 'node:url';
import { LiloraError } from '../core/errors.ts';
import { FolderStore } from './folder.ts';
import type { ObjectStore } from './object-store.ts';
import { type S3Options, S3Store } from './s3.ts';

/**
 * Opens a store by its URI: `s3://bucket/prefix`, `file:///folder` or a plain path. Nothing is contacted yet; `probe`
 * does that. Credentials never belong into a URI.
 */
export function openStore(uri: string, options: S3Options = {}): ObjectStore {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(uri)?.[1]?.toLowerCase();
  if (scheme === undefined && uri !== '' && !uri.includes('\u0000')) return new FolderStore(uri);
  if (scheme === 'file') return new FolderStore(folderOf(uri));
  if (scheme !== 's3') {
    const shown = scheme === undefined ? 'an empty text' : `${scheme}://`;
    throw new LiloraError('BadConfig', `A store cannot be ${shown}. Use s3://bucket/prefix, file:///folder or a path.`);
  }
  const [bucket = '', ...rest] = uri.slice('s3://'.length).split('/');
  if (bucket.includes('@')) {
    throw new LiloraError(
      'BadConfig',
      'Credentials do not belong into a store URI. Use the AWS variables or a profile.',
    );
  }
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) {
    throw new LiloraError('BadConfig', `${JSON.stringify(bucket)} is not an S3 bucket name. Use s3://bucket/prefix.`);
  }
  return new S3Store(bucket, rest.join('/').replace(/\/$/, ''), options);
}

function folderOf(uri: string): string {
  try {
    return fileURLToPath(uri);
  } catch {
    throw new LiloraError('BadConfig', `${uri} is not a usable file URI. Use file:///absolute/folder.`);
  }
}
