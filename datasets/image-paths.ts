import { quote } from './problems.ts';
import { MANIFEST_FILE } from './source.ts';

/** How often a message looks for what was meant: each time all files are gone through. */
const SEARCHES = 20;

/** Finds the file that a sample means by a path, among those that the dataset lists. */
export class ImagePaths {
  private readonly listed: { has(path: string): boolean; keys(): Iterable<string> };
  private readonly root: string;
  private composed: ReadonlyMap<string, string> | null = null;
  private searches = 0;

  /** @param root the folder from which paths of images count; empty: that of `dataset.json` */
  constructor(listed: { has(path: string): boolean; keys(): Iterable<string> }, root = '') {
    this.listed = listed;
    this.root = root === '' ? '' : `${root}/`;
  }

  /** The listed path: as it is written, else in another Unicode form of the same letters; null when there is none. */
  find(path: string): string | null {
    for (const candidate of new Set([`${this.root}${path}`, path])) {
      if (this.listed.has(candidate)) return candidate;
      const same = this.inOtherForm(candidate);
      if (same !== null) return same;
    }
    return null;
  }

  /** Why a path is not found, and what to do about it. */
  problem(path: string): string {
    const missing = `image ${quote(path)} is not in "files" of ${MANIFEST_FILE}`;
    if (this.searches >= SEARCHES) return `${missing}; add it there, or name the folder of images as "images"`;
    this.searches++;
    const ends: string[] = [];
    const named: string[] = [];
    const name = nameOf(unescaped(path));
    for (const file of this.listed.keys()) {
      if (file.endsWith(`/${path}`)) ends.push(file);
      else if (nameOf(file) === name) named.push(file);
    }
    const [one] = ends;
    if (one !== undefined && ends.length === 1) {
      const root = one.slice(0, -path.length - 1);
      return `${missing}, but ${quote(one)} is: write "images": ${quote(root)} into ${MANIFEST_FILE} (\`lilora manifest --images ${root}\`)`;
    }
    if (ends.length > 1)
      return `${missing}, but ${ends.length} files end with it, such as ${quote(one)}: say which folder is meant as "images" in ${MANIFEST_FILE}`;
    if (named.length > 0) return `${missing}; is ${quote(named[0])} meant? Correct the path`;
    return `${missing}; put the file there and list it (\`lilora manifest\` lists what is there), or take the sample out`;
  }

  /** Letters with marks may be written in one piece (NFC) or several (NFD, as macOS once did). */
  private inOtherForm(path: string): string | null {
    if (isPlain(path)) return null;
    if (this.composed === null) {
      const found = new Map<string, string>();
      const twice = new Set<string>();
      for (const file of this.listed.keys()) {
        if (isPlain(file)) continue;
        const form = file.normalize('NFC');
        if (found.has(form)) twice.add(form);
        found.set(form, file);
      }
      for (const form of twice) found.delete(form);
      this.composed = found;
    }
    return this.composed.get(path.normalize('NFC')) ?? null;
  }
}

const nameOf = (path: string) => path.slice(path.lastIndexOf('/') + 1).toLowerCase();

/** A path as addresses spell it, `a%20b.png`, in plain letters. */
function unescaped(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Whether a text has one Unicode form only. */
function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}
