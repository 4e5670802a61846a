import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Keys of the local S3 server. */
export interface Credentials {
  readonly access: string;
  readonly secret: string;
}

/** The keys of this installation: made at random once, kept in a file that only its owner can read. */
export function localCredentials(home: string): Credentials {
  const file = join(home, 's3-credentials.json');
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const made: Credentials = { access: randomBytes(10).toString('hex'), secret: randomBytes(32).toString('base64url') };
  try {
    writeFileSync(file, JSON.stringify(made), { mode: 0o600, flag: 'wx' });
    return made;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return JSON.parse(readFileSync(file, 'utf8')) as Credentials;
  }
}
