import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LiloraError } from '../core/errors.ts';
import { readWhole } from '../core/files.ts';

/** Encoded images by SHA-256, read when they are needed. A map of them is one in memory. */
export interface Images {
  keys(): Iterable<string>;
  get(digest: string): Uint8Array | undefined | Promise<Uint8Array | undefined>;
}

/** Where verified images are put, each once. */
export interface ImageSink {
  set(digest: string, bytes: Uint8Array): unknown;
}

/** One image, or `IntegrityError` when it is not there. */
export async function imageOf(images: Images, digest: string): Promise<Uint8Array> {
  const bytes = await images.get(digest);
  if (bytes) return bytes;
  throw new LiloraError('IntegrityError', `Image ${digest} is not in the prepared data. Submit the dataset again.`);
}

/** Images in a folder of this machine, one file each; whoever made the folder removes it. */
export class ImageFolder implements Images, ImageSink {
  private readonly folder: string;
  private readonly digests = new Set<string>();

  constructor(folder: string) {
    this.folder = folder;
  }

  keys(): Iterable<string> {
    return this.digests;
  }

  async get(digest: string): Promise<Uint8Array | undefined> {
    return this.digests.has(digest) ? readWhole(this.path(digest)) : undefined;
  }

  async set(digest: string, bytes: Uint8Array): Promise<void> {
    // Folders of some hundred files each, as all systems like them.
    await mkdir(join(this.folder, digest.slice(0, 2)), { recursive: true });
    await writeFile(this.path(digest), bytes);
    this.digests.add(digest);
  }

  private path(digest: string): string {
    return join(this.folder, digest.slice(0, 2), digest);
  }
}
