import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { DEFAULTS } from '../../core/defaults.ts';
import { sha256 } from '../../core/digest.ts';
import { canonicalJson } from '../../core/json.ts';
import { type Merging, mergeAdapters } from '../../learning/methods/merge.ts';
import { type StoredFile, streamKeys } from '../../store/generations.ts';
import { createOrSame, getVerified, type ObjectStore } from '../../store/object-store.ts';
import { readPeft, writePeft } from '../../store/peft.ts';
import { baseOf, type ResolvedStream } from '../../workflows/contract.ts';
import { verbStore } from '../connect.ts';
import { adapterFiles, type Published, published } from '../generations.ts';
import { result, resultJson } from '../output.ts';
import { wholeNumber } from './create.ts';

interface Options {
  readonly how: Merging['how'];
  readonly weights?: number[];
  readonly density?: number;
  readonly lines?: true | number;
  readonly generation?: number;
  readonly dir?: string;
  readonly json?: boolean;
}

/** `merge.json` beside a merged adapter, written last: what it was made of. */
interface MergeRecord {
  readonly schema: 1;
  readonly stream: string;
  readonly generation: number;
  readonly manifestDigest: string;
  readonly tasks: readonly string[];
  readonly merging: Merging;
  readonly files: Readonly<Record<string, StoredFile>>;
}

export function addMerge(program: Command): void {
  program
    .command('merge')
    .description(
      'Merges the adapters of several tasks into one and publishes it beside the generations. Nothing tests it.',
    )
    .argument('<stream>')
    .argument('<tasks...>', 'two or more')
    .option('--how <way>', 'linear (the weighted sum, exact) or ties (trim, elect sign, merge)', way, 'linear' as const)
    .option('--weights <numbers>', 'one for each task, by comma; default: equal', numbers)
    .option('--density <share>', `for ties: entries that stay, default ${DEFAULTS['merge.density'].value}`, share)
    .option('--lines [beta]', 'scale the result by depth (LiNeS)', (text) => numbers(text)[0]!)
    .option('--generation <n>', 'not of the current generation but of this one', wholeNumber)
    .option('--dir <dir>', 'write the adapter here too')
    .option('--json', 'what was written, as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora merge pets dogs cats --dir ./adapters/both
  $ lilora merge pets dogs cats --how ties --lines`,
    )
    .action(async (stream: string, tasks: string[], options: Options) => {
      const { how, weights, density, lines, dir } = options;
      const merging: Merging = {
        how,
        ...(weights && { weights }),
        ...(how === 'ties' && { density: density ?? DEFAULTS['merge.density'].value }),
        ...(lines !== undefined && { lines: lines === true ? {} : { beta: lines } }),
      };
      const store = await verbStore();
      const generation = await published(store, stream, options.generation);
      const { folder, record, files } = await merge(store, stream, generation, tasks, merging);
      if (dir !== undefined) {
        await mkdir(resolve(dir), { recursive: true });
        for (const { path, bytes } of files) await writeFile(join(resolve(dir), path), bytes);
      }
      if (options.json) return resultJson({ folder, ...record });
      const where = dir === undefined ? '' : ` and ${resolve(dir)}`;
      result(
        `${tasks.join(' + ')}, generation ${generation.generation}: ${folder}${where}. Test it before you serve it.`,
      );
    });
}

/** Merges adapters of one generation and writes the result once: the same again is found as it is. */
export async function merge(
  store: ObjectStore,
  stream: string,
  generation: Published,
  tasks: readonly string[],
  merging: Merging,
) {
  const { manifestDigest, manifest } = generation;
  const adapters = await Promise.all(tasks.map((task) => adapterOf(store, generation, task)));
  const { model, base } = manifest.lineage as Pick<ResolvedStream, 'model' | 'base'>;
  const files = writePeft(mergeAdapters(adapters, merging), baseOf({ model, ...(base && { base }) }));
  const made = { schema: 1, stream, generation: generation.generation, manifestDigest, tasks, merging } as const;
  const folder = `${streamKeys(stream).merged}${sha256(canonicalJson(made)).slice(0, 16)}`;
  const stored: Record<string, StoredFile> = {};
  for (const { path, bytes } of files) {
    const key = `${folder}/${path}`;
    await createOrSame(store, key, bytes);
    stored[path] = { key, size: bytes.byteLength, sha256: sha256(bytes) };
  }
  const record: MergeRecord = { ...made, files: stored };
  await createOrSame(store, `${folder}/merge.json`, Buffer.from(canonicalJson(record)));
  return { folder, record, files };
}

async function adapterOf(store: ObjectStore, generation: Published, task: string) {
  const [config, weights] = await Promise.all(
    adapterFiles(generation, task).map(({ ref }) => getVerified(store, ref.key, ref)),
  );
  return readPeft(config!, weights!, `adapters/${task}`);
}

function way(text: string): Merging['how'] {
  if (text === 'linear' || text === 'ties') return text;
  throw new InvalidArgumentError('It must be linear or ties.');
}

function numbers(text: string): number[] {
  const found = text.split(',').map(Number);
  if (text.trim() === '' || !found.every(Number.isFinite))
    throw new InvalidArgumentError('It must be a number, or numbers by comma.');
  return found;
}

function share(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 1) return value;
  throw new InvalidArgumentError('It must be above 0 and at most 1.');
}
