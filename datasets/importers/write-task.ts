import { copyFile, link, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sha256File } from '../../core/digest.ts';
import { isLiloraError, LiloraError } from '../../core/errors.ts';
import { plainFile } from '../local-folder.ts';
import type { SplitName } from '../manifest.ts';
import type { ReadSample } from '../readers/reader.ts';

/** Samples files are split where they grow larger, in bytes. */
const SHARD = 128 * 2 ** 20;

/** Training samples that are no test samples: the same words about the same picture. */
export async function withoutOverlap(
  train: readonly ReadSample[],
  test: readonly ReadSample[],
  images: string,
): Promise<ReadSample[]> {
  const said = ({ turns }: ReadSample) => JSON.stringify(turns);
  const digests = new Map<string, Promise<string>>();
  const digest = (path: string) => {
    const found = digests.get(path) ?? sha256File(join(images, path)).catch(() => path);
    digests.set(path, found);
    return found;
  };
  const pictures = async ({ images: paths }: ReadSample) =>
    (await Promise.all(paths.map((path) => digest(path as string)))).join();
  const tested = new Map<string, ReadSample[]>();
  for (const sample of test) tested.set(said(sample), [...(tested.get(said(sample)) ?? []), sample]);
  const kept: ReadSample[] = [];
  for (const sample of train) {
    const same = tested.get(said(sample)) ?? [];
    const [mine, theirs] = [await pictures(sample), await Promise.all(same.map(pictures))];
    if (!theirs.includes(mine)) kept.push(sample);
  }
  return kept;
}

/** Writes JSON lines, in several files where they are many. */
export async function writeSamples(
  folder: string,
  split: SplitName,
  samples: readonly ReadSample[],
): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const names: string[] = [];
  let lines: string[] = [];
  let size = 0;
  const flush = async () => {
    const name = `${split}-${String(names.length).padStart(3, '0')}.jsonl`;
    await writeFile(join(folder, name), lines.join(''));
    names.push(name);
    lines = [];
    size = 0;
  };
  for (const { id, turns, images, references } of samples) {
    const conversations = turns.map(({ role, text }) => ({ from: NAMES[role], value: text }));
    const image = images.length > 0 ? { image: `images/${String(images[0])}` } : {};
    const line = `${JSON.stringify({ id, ...image, conversations, references })}\n`;
    lines.push(line);
    size += line.length;
    if (size >= SHARD) await flush();
  }
  if (lines.length > 0 || names.length === 0) await flush();
  return names;
}

const NAMES = { user: 'human', assistant: 'gpt', system: 'system', tool: 'tool' } as const;

/** Which of the images are not there. `BadDataset` for links and ways out. */
export async function missingImages(paths: ReadonlySet<string>, images: string): Promise<Set<string>> {
  const missing = new Set<string>();
  for (const path of paths)
    await plainFile(images, path).catch((error: unknown) => {
      if (!isLiloraError(error, 'NotFound')) throw error;
      missing.add(path);
    });
  return missing;
}

/** Refuses a benchmark whose images are not all there. */
export function mustHaveAll(missing: ReadonlySet<string>, images: string): void {
  if (missing.size === 0) return;
  const some = [...missing].slice(0, 5).join(', ');
  throw new LiloraError(
    'NotFound',
    `${missing.size} image(s) are not in ${images}: ${some}${missing.size > 5 ? ', …' : ''}. Fetch the images of the benchmark, name their folder with --images, or leave the samples that need them out with --skip-missing.`,
  );
}

/** Puts images into a dataset's folder, under `images/`: as hard links where the file system allows it. */
export async function linkImages(paths: ReadonlySet<string>, images: string, folder: string): Promise<void> {
  for (const path of paths) {
    const { file } = await plainFile(images, path);
    const to = join(folder, 'images', path);
    await mkdir(dirname(to), { recursive: true });
    await link(file, to).catch(() => copyFile(file, to));
  }
}
