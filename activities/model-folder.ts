import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { sha256, sha256File } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { digestOf } from '../core/json.ts';
import { MODEL_FILE } from '../store/hub.ts';
import type { ResolvedStream } from '../workflows/contract.ts';
import { beating, type DataContext } from './context.ts';
import type { ModelJob } from './engine.ts';

const WEIGHTS = /\.safetensors$/;

/**
 * A base model as a local folder. `s3://` models are fetched once per digest into the cache; a path is used where it is.
 * @param digest what the folder must hash to; null while the stream is being defined
 */
export async function modelFolder(
  context: DataContext,
  uri: string,
  digest: string | null,
  options: { readonly weights: boolean },
): Promise<{ folder: string; digest: string }> {
  // With a store in S3 a payload must not make a worker read its own disk.
  if (!uri.includes('://') && context.localModels === false)
    throw new LiloraError('BadConfig', `${uri}: this deployment reads models from s3:// only. Upload it first.`);
  if (!uri.includes('://'))
    return { folder: resolve(uri), digest: digest ?? (await beating(() => folderDigest(resolve(uri)))) };
  const home = join(context.cache, 'models');
  // Tokenizer and configuration alone are a folder of their own: a data worker never needs the weights.
  const final = digest && join(home, options.weights ? digest : `${digest}-config`);
  if (final && (await stat(final).catch(() => null))) return { folder: final, digest };

  const place = await context.openPlace(uri);
  const files: Array<{ key: string; size: number }> = [];
  for await (const { key, size } of place.list(''))
    if (!key.includes('/') && MODEL_FILE.test(key) && (options.weights || !WEIGHTS.test(key)))
      files.push({ key, size });
  if (files.length === 0)
    throw new LiloraError('BadModel', `${uri} holds no model files. Name the folder with config.json in it.`);
  const total = files.reduce((sum, { size }) => sum + size, 0);
  const partial = join(home, `partial-${process.pid}-${Math.random().toString(36).slice(2)}`);
  await mkdir(partial, { recursive: true });
  try {
    // A shard takes minutes; what has come stands in the partial folder, and every beat tells how much it is.
    const found = await beating(
      async () => {
        for (const { key } of files) await place.download(key, join(partial, key), {});
        return options.weights ? folderDigest(partial) : digest!;
      },
      async () => ({ model: { fetchedBytes: await bytesIn(partial), totalBytes: total } }),
    );
    if (digest && found !== digest)
      throw new LiloraError(
        'IntegrityError',
        `The model at ${uri} is not the one this stream was defined with: digest ${found}, not ${digest}.`,
      );
    const target = final ?? join(home, found);
    await mkdir(dirname(target), { recursive: true });
    await rename(partial, target).catch((error) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error; // another process was faster
    });
    return { folder: target, digest: found };
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

async function bytesIn(folder: string): Promise<number> {
  const sizes = await Promise.all((await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** The base model of a stream as the engine takes it. */
export async function engineModel(
  context: DataContext,
  { model }: Pick<ResolvedStream, 'model'>,
): Promise<Required<ModelJob['model']>> {
  const found = await modelFolder(context, model.uri, model.digest, { weights: true });
  const features = digestOf({ code: context.codeVersion, model: model.digest }).slice(0, 16);
  return { ...found, features: join(context.cache, 'features', features) };
}

/** SHA-256 over the sorted names and digests of the folder's model files. */
export async function folderDigest(folder: string): Promise<string> {
  const names = await readdir(folder).catch(() => {
    throw new LiloraError('BadModel', `${folder}: no such folder. Name a Hugging Face model folder.`);
  });
  const lines: string[] = [];
  for (const name of names.filter((file) => MODEL_FILE.test(file)).sort())
    lines.push(`${name} ${await sha256File(join(folder, name))}`);
  return sha256(lines.join('\n'));
}
