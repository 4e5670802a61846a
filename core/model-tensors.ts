import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LiloraError } from './errors.ts';
import { parseJson } from './json.ts';
import { FETCH, noWeights } from './model-folder.ts';
import { type RawTensor, SafetensorsFile, type TensorInfo } from './safetensors.ts';

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/**
 * The weights of a Hugging Face model folder: `model.safetensors`, the shards that `model.safetensors.index.json` lists,
 * or, without an index, all of `model-00001-of-0000N.safetensors`. Whatever is wrong with them is a `BadModel`. Close it
 * when done.
 */
export async function openModelTensors(folder: string): Promise<ModelTensors> {
  try {
    if (await exists(join(folder, SINGLE))) {
      const file = await SafetensorsFile.open(join(folder, SINGLE));
      return new ModelTensors([file], new Map(file.names().map((name) => [name, file])));
    }
    if (await exists(join(folder, INDEX))) return await openShards(folder);
    const shards = await shardsOf(folder);
    if (shards.length > 0) return await openAll(folder, shards);
  } catch (error) {
    if (!(error instanceof LiloraError)) throw error;
    throw new LiloraError('BadModel', error.message, { cause: error });
  }
  throw await noWeights(folder);
}

/** The tensors of one or several files under one roof. */
export class ModelTensors {
  private readonly files: SafetensorsFile[];
  private readonly places: Map<string, SafetensorsFile>;

  constructor(files: SafetensorsFile[], places: Map<string, SafetensorsFile>) {
    this.files = files;
    this.places = places;
  }

  /** All tensor names. */
  names(): string[] {
    return [...this.places.keys()];
  }

  has(name: string): boolean {
    return this.places.has(name);
  }

  info(name: string): TensorInfo {
    return this.file(name).info(name);
  }

  /** One tensor with its own element type. */
  readRaw(name: string): Promise<RawTensor> {
    return this.file(name).readRaw(name);
  }

  /** One floating-point tensor, row-major, widened to float32. */
  readFloat(name: string): Promise<Float32Array> {
    return this.file(name).readFloat(name);
  }

  async close(): Promise<void> {
    await Promise.all(this.files.map((file) => file.close()));
  }

  private file(name: string): SafetensorsFile {
    const file = this.places.get(name);
    if (file) return file;
    const where = this.files.map(({ path }) => path).join(', ');
    throw new LiloraError(
      'BadModel',
      `${where}: no tensor ${JSON.stringify(name)}. Check that config.json fits the weights.`,
    );
  }
}

/** Names of the shards of one series, in order; empty where there is none. A series with a gap is refused. */
async function shardsOf(folder: string): Promise<string[]> {
  const found = (await readdir(folder)).flatMap((name) => /^model-(\d+)-of-(\d+)\.safetensors$/.exec(name) ?? []);
  const names = found.filter((_, i) => i % 3 === 0).sort();
  const counts = new Set(found.filter((_, i) => i % 3 === 2));
  if (counts.size > 1) {
    const problem = `shards of ${counts.size} series (${names.join(', ')}) and no ${INDEX} that tells which belong together`;
    throw new LiloraError('BadModel', `${folder}: ${problem}. Remove those of the other model, or fetch the index.`);
  }
  const [count] = counts;
  const width = names[0] ? names[0].split('-')[1]!.length : 0;
  const all = Array.from(
    { length: Math.min(Number(count ?? 0), 10_000) },
    (_, i) => `model-${`${i + 1}`.padStart(width, '0')}-of-${count}.safetensors`,
  );
  const missing = all.filter((name) => !names.includes(name));
  if (missing.length === 0) return names;
  const problem = `${missing.length} of ${all.length} shards are missing, first ${missing[0]}, and so is ${INDEX}`;
  throw new LiloraError('BadModel', `${folder}: ${problem}. Fetch the model again: ${FETCH}.`);
}

/** Shards without an index: every tensor stands in one of them. */
async function openAll(folder: string, shards: readonly string[]): Promise<ModelTensors> {
  const files: SafetensorsFile[] = [];
  const places = new Map<string, SafetensorsFile>();
  try {
    for (const shard of shards) {
      const file = await SafetensorsFile.open(join(folder, shard));
      files.push(file);
      for (const name of file.names()) {
        const other = places.get(name);
        if (other) {
          const problem = `${JSON.stringify(name)} is in ${shard} and in ${other.path}, and there is no ${INDEX}`;
          throw new LiloraError('BadModel', `${folder}: ${problem}. Fetch the index: ${FETCH}.`);
        }
        places.set(name, file);
      }
    }
  } catch (error) {
    await Promise.all(files.map((file) => file.close()));
    throw error;
  }
  return new ModelTensors(files, places);
}

async function openShards(folder: string): Promise<ModelTensors> {
  const weightMap = await readWeightMap(join(folder, INDEX));
  const files: SafetensorsFile[] = [];
  const places = new Map<string, SafetensorsFile>();
  try {
    const shards = new Set(weightMap.values());
    const found = new Set(await readdir(folder));
    const lost = [...shards].filter((shard) => !found.has(shard));
    if (lost.length > 0) {
      const problem = `${lost.length} of ${shards.size} files of ${INDEX} are missing, first ${lost[0]}`;
      throw new LiloraError('BadModel', `${folder}: ${problem}. Fetch the model again: ${FETCH}.`);
    }
    for (const shard of shards) {
      const file = await SafetensorsFile.open(join(folder, shard));
      files.push(file);
      for (const name of file.names()) {
        const promised = weightMap.get(name);
        if (promised !== shard) {
          const said = promised === undefined ? `${INDEX} does not list it` : `${INDEX} places it in ${promised}`;
          throw new LiloraError(
            'BadModel',
            `${file.path}: holds ${JSON.stringify(name)}, but ${said}. Save the model again.`,
          );
        }
        places.set(name, file);
      }
    }
    const missing = [...weightMap].filter(([name]) => !places.has(name));
    if (missing.length > 0) {
      const list = missing.slice(0, 5).map(([name, shard]) => `${JSON.stringify(name)} in ${shard}`);
      const problem = `${missing.length} tensors of ${INDEX} are missing, first ${list.join(', ')}`;
      throw new LiloraError('BadModel', `${folder}: ${problem}. Fetch the model again.`);
    }
  } catch (error) {
    await Promise.all(files.map((file) => file.close()));
    throw error;
  }
  return new ModelTensors(files, places);
}

async function readWeightMap(path: string): Promise<Map<string, string>> {
  const index = parseJson(await readFile(path), path, { errorName: 'BadModel' });
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw new LiloraError('BadModel', `${path}: no weight_map object. Save the model again.`);
  }
  const entries = Object.entries(map as Record<string, unknown>);
  for (const [name, shard] of entries) {
    if (typeof shard !== 'string' || !/^[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors$/.test(shard)) {
      const problem = `${JSON.stringify(name)} is placed in ${JSON.stringify(shard)}`;
      throw new LiloraError('BadModel', `${path}: ${problem}; only *.safetensors files of the same folder are read.`);
    }
  }
  return new Map(entries as [string, string][]);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
