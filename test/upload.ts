import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { openStore } from '../store/open.ts';

/** Copies a folder into a store, a `dataset.json` last: it makes a dataset count. */
export async function uploadFolder(folder: string, uri: string): Promise<void> {
  const place = openStore(uri);
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  const [manifest, rest] = [
    paths.filter((path) => path === 'dataset.json'),
    paths.filter((path) => path !== 'dataset.json'),
  ];
  await Promise.all(rest.map((path) => place.upload(path, join(folder, path))));
  for (const path of manifest) await place.upload(path, join(folder, path));
}
