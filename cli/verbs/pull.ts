import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { sha256File } from '../../core/digest.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { verbStore } from '../connect.ts';
import { adapterFiles, type Published, published } from '../generations.ts';
import { LiveLine, result, resultJson } from '../output.ts';
import { wholeNumber } from './create.ts';

interface Options {
  readonly task?: string;
  readonly generation?: number;
  readonly json?: boolean;
}

/** One adapter on this disk. */
export interface Pulled {
  readonly task: string;
  readonly folder: string;
  readonly files: ReadonlyArray<{ readonly name: string; readonly size: number; readonly sha256: string }>;
}

export function addPull(program: Command): void {
  program
    .command('pull')
    .description('Downloads adapters into DIR/<task>, verified. A folder appears when it is whole, or stays as it was.')
    .argument('<stream>')
    .argument('<dir>')
    .option('--task <name>', 'this task only')
    .option('--generation <n>', 'not the current generation but this one', wholeNumber)
    .option('--json', 'what was written, as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora pull pets ./adapters
  $ lilora pull pets ./adapters --task dogs --generation 2
PEFT loads such a folder: PeftModel.from_pretrained(model, "./adapters/dogs")`,
    )
    .action(async (stream: string, dir: string, options: Options) => {
      const store = await verbStore();
      const generation = await published(store, stream, options.generation);
      const tasks = options.task === undefined ? generation.tasks : [options.task];
      const live = new LiveLine();
      const pulled: Pulled[] = [];
      for (const task of tasks) {
        live.update(
          `downloading generation ${generation.generation}`,
          `${task}, ${pulled.length + 1} of ${tasks.length}`,
        );
        pulled.push(await pullAdapter(store, stream, generation, task, resolve(dir)));
      }
      live.end();
      if (options.json) return resultJson({ stream, generation: generation.generation, adapters: pulled });
      result(
        [`Generation ${generation.generation} of ${stream}:`, ...pulled.map(({ folder }) => `  ${folder}`)].join('\n'),
      );
    });
}

/** Downloads one adapter beside its place and moves it there; an equal one that is there already stays. */
export async function pullAdapter(
  store: ObjectStore,
  stream: string,
  generation: Published,
  task: string,
  dir: string,
): Promise<Pulled> {
  const files = adapterFiles(generation, task);
  const folder = join(dir, task);
  const described = files.map(({ name, ref: { size, sha256 } }) => ({ name, size, sha256 }));
  if (await holds(folder, described)) return { task, folder, files: described };
  await mkdir(dir, { recursive: true });
  const partial = await mkdtemp(join(dir, `.${task}-`));
  try {
    const fresh = join(partial, 'new');
    await mkdir(fresh);
    for (const { name, ref } of files) await store.download(ref.key, join(fresh, name), ref);
    const origin = { stream, generation: generation.generation, task, files: described };
    await writeFile(join(fresh, 'lilora.json'), `${JSON.stringify(origin, null, 2)}\n`);
    // Two renames: a reader sees the old folder, for an instant none, then the new one; never a mixture.
    await rename(folder, join(partial, 'old')).catch(ignoreMissing);
    await rename(fresh, folder);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  return { task, folder, files: described };
}

async function holds(folder: string, files: Pulled['files']): Promise<boolean> {
  for (const { name, size, sha256 } of files) {
    const path = join(folder, name);
    if ((await stat(path).catch(() => null))?.size !== size || (await sha256File(path)) !== sha256) return false;
  }
  return true;
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
