import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Does node_modules hold what package-lock.json names? npm writes the tree that it installed to node_modules/.package-lock.json.
 * With NODE_ENV=production npm leaves out what only development needs.
 * @param {string} root
 * @param {boolean} production
 * @returns {boolean}
 */
export function packagesInstalled(root, production = process.env.NODE_ENV === 'production') {
  const wanted = packagesOf(join(root, 'package-lock.json'));
  const present = packagesOf(join(root, 'node_modules', '.package-lock.json'));
  if (!wanted || !present) return false;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '') continue;
    const found = present[path];
    if (found === undefined) {
      // Optional packages of other platforms are not installed.
      if (entry.optional || entry.devOptional || (production && entry.dev)) continue;
      return false;
    }
    if (found.version !== entry.version || found.integrity !== entry.integrity) return false;
  }
  return Object.keys(present).every((path) => wanted[path] !== undefined);
}

/** @param {string} path @returns {Record<string, any> | undefined} */
function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}
