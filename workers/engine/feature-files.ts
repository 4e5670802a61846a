import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { SafetensorsFile, writeSafetensors } from '../../core/safetensors.ts';

/** Features of one image. */
export interface Seen {
  readonly shape: readonly [rows: number, tokens: number, width: number];
  readonly values: Float32Array;
}

const SUFFIX = '.safetensors';

/**
 * Vision features on the disk of this machine, one file per group of images: workers side by side and those that start
 * later compute them once. A cache: what is missing or damaged is computed, what cannot be written is not kept.
 */
export class FeatureFiles {
  private readonly folder: string;
  private readonly limit: number;
  /** Bytes written since the folder was last looked through; at the first write it is. */
  private written = Number.POSITIVE_INFINITY;

  /**
   * @param folder of features of one model by one version of the code on one kind of engine; folders beside it share the limit
   * @param limit bytes; the group that was used longest ago goes first
   */
  constructor(folder: string, limit: number) {
    this.folder = folder;
    this.limit = limit;
  }

  /** Whether there is a file of a group; not whether it is sound. */
  async has(key: string): Promise<boolean> {
    return (await stat(this.path(key)).catch(() => null)) !== null;
  }

  /** Features of images of a group, by their place in it; null when they are not here. */
  async read(key: string, places: readonly number[]): Promise<Seen[] | null> {
    const path = this.path(key);
    try {
      const file = await SafetensorsFile.open(path);
      try {
        const now = new Date();
        await utimes(path, now, now);
        const seen: Seen[] = [];
        for (const place of places) {
          const [rows, tokens, width] = file.info(String(place)).shape as [number, number, number];
          seen.push({ shape: [rows, tokens, width], values: await file.readFloat(String(place)) });
        }
        return seen;
      } finally {
        await file.close();
      }
    } catch {
      return null;
    }
  }

  async write(key: string, images: readonly Seen[]): Promise<void> {
    const tensors = new Map(images.map(({ shape, values }, i) => [String(i), { shape, data: values }]));
    const bytes = writeSafetensors(tensors, {});
    if (bytes.byteLength > this.limit) return;
    const draft = `${this.path(key)}.${randomUUID()}`;
    try {
      await mkdir(this.folder, { recursive: true });
      await writeFile(draft, bytes);
      await rename(draft, this.path(key));
      this.written += bytes.byteLength;
      // Between two looks at the folder the limit may be passed by a sixteenth.
      if (this.written > this.limit / 16) await this.makeRoom();
    } catch {
      await rm(draft, { force: true }).catch(() => {});
    }
  }

  private path(key: string): string {
    return join(this.folder, `${key}${SUFFIX}`);
  }

  /** Removes the files that were used longest ago, until the rest is within the limit. */
  private async makeRoom(): Promise<void> {
    const root = dirname(this.folder);
    const files = [];
    for (const name of await readdir(root, { recursive: true })) {
      const path = join(root, name);
      const found = await stat(path).catch(() => null);
      if (found?.isFile()) files.push({ path, size: found.size, used: found.mtimeMs });
    }
    let total = files.reduce((sum, { size }) => sum + size, 0);
    for (const { path, size } of files.sort((a, b) => a.used - b.used)) {
      if (total <= this.limit) break;
      await rm(path, { force: true });
      total -= size;
    }
    this.written = 0;
  }
}
