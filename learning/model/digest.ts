import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256, sha256File } from '../../core/digest.ts';
import { LiloraError } from '../../core/errors.ts';

/**
 * SHA-256 over a model folder: of the lines `<sha256 of the file>  <file name>\n`, sorted by file name (by UTF-8 byte),
 * as `sha256sum` prints them. Only files directly in the folder count; hidden ones do not.
 */
export async function modelDigest(folder: string): Promise<string> {
  const found = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    throw new LiloraError('BadModel', `${folder}: ${error.code}. Check the path of the model folder.`, {
      cause: error,
    });
  });
  const names: string[] = [];
  for (const name of found) if (!name.startsWith('.') && (await stat(join(folder, name))).isFile()) names.push(name);
  names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const lines: string[] = [];
  for (const name of names) lines.push(`${await sha256File(join(folder, name))}  ${name}\n`);
  return sha256(lines.join(''));
}
