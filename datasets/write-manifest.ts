import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256File } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { hubLink, LINK } from './hub-links.ts';
import { type Manifest, parseManifest } from './manifest.ts';
import { MANIFEST_FILE } from './source.ts';

/** What a person says of a dataset; the rest is in its files. */
export type About = Omit<Manifest, 'schema' | 'files'>;

/** Writes `dataset.json` into a folder, with every other file in it. `BadDataset` for one that no manifest may list. */
export async function writeManifest(folder: string, about: About): Promise<Manifest> {
  const files: Manifest['files'] = [];
  for (const path of await plainFiles(folder, '')) {
    const file = join(folder, path);
    files.push({ path, size: (await stat(file)).size, sha256: await sha256File(file) });
  }
  const text = `${JSON.stringify({ schema: 1, ...about, files }, null, 1)}\n`;
  const manifest = parseManifest(Buffer.from(text));
  await writeFile(join(folder, MANIFEST_FILE), text);
  return manifest;
}

/** What systems leave in folders: it is no part of a dataset. */
const LEFT_BEHIND = new Set(['__MACOSX', 'Thumbs.db', 'desktop.ini', 'Icon\r']);

/**
 * Paths of all files below a folder, sorted; the manifest, hidden files and what systems leave behind (`._1.png`, `.DS_Store`,
 * `__MACOSX`, `Thumbs.db`) are passed over. `BadDataset` for links and the like.
 * @param folder below `root`; empty for all of it
 */
export async function plainFiles(root: string, folder: string): Promise<string[]> {
  const found: string[] = [];
  const entries = await readdir(join(root, folder), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.name.startsWith('.') || LEFT_BEHIND.has(entry.name) || path === MANIFEST_FILE) continue;
    if (entry.isDirectory()) found.push(...(await plainFiles(root, path)));
    else if (entry.isFile() || (await hubLink(root, join(root, path)))) found.push(path);
    else throw new LiloraError('BadDataset', `${join(root, path)}: ${entry.isSymbolicLink() ? LINK : NO_FILE}`);
  }
  return found;
}

const NO_FILE = 'not a plain file. Put the file itself there.';
