import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { DEFAULTS } from '../core/defaults.ts';
import { sha256File } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { inLanes } from '../core/lanes.ts';
import { rewritten } from '../core/model-folder.ts';
import { guardedChunks, retryRead } from './bodies.ts';
import { withLock } from './folder-lock.ts';

/** What a model folder is made of; nothing else of it is read, fetched or hashed (weights in pickle files least of all). */
export const MODEL_FILE = /\.(safetensors|json|jinja|txt|model)$/;
const WEIGHTS = /\.safetensors$/;

/** Files that come down side by side. */
const LANES = 4;

/** A model on a Hugging Face hub. */
export interface HubModel {
  /** `org/name`. */
  readonly id: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

/** `org/name`, `org/name@revision`, with `hf://` before it or not; null for what is none of these. */
export function hubModel(text: string): HubModel | null {
  const part = '[A-Za-z0-9][A-Za-z0-9._-]{0,95}';
  const found = new RegExp(`^(?:hf://)?(${part}/${part})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{0,199}))?$`).exec(text);
  const [, id, revision = 'main'] = found ?? [];
  return id === undefined || /\.\.|\/\/|\/$/.test(revision) || id.includes('..') ? null : { id, revision };
}

/** Where a hub is and who asks. */
export interface Hub {
  readonly endpoint: string;
  readonly token: string | undefined;
}

/** `HF_ENDPOINT` and `HF_TOKEN`, as all clients of the hub read them. */
export function hubOf(env: NodeJS.ProcessEnv = process.env): Hub {
  const endpoint = (env['HF_ENDPOINT'] || 'https://huggingface.co').replace(/\/+$/, '');
  return { endpoint, token: env['HF_TOKEN'] || undefined };
}

interface HubFile {
  readonly path: string;
  readonly size: number;
  /** SHA-256 of a large file, SHA-1 of a small one as git counts it. */
  readonly digest: { readonly kind: 'sha256' | 'git'; readonly hex: string };
}

export interface FetchOptions {
  /** Folder of all models of hubs. */
  readonly cache: string;
  /** False: tokenizer and configuration alone. */
  readonly weights: boolean;
  /** Bytes that are here and bytes in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * A model of a hub as a local folder. Its revision is pinned to a commit first; what is here of that commit is not fetched
 * again, and a file that broke off goes on where it ended. Every file is checked by size and digest. Errors: `NotFound`,
 * `BadConfig` (no access), `BadModel` (no safetensors), `StoreUnavailable` (no network), `IntegrityError`.
 */
export async function fetchHubModel(
  hub: Hub,
  model: HubModel,
  options: FetchOptions,
): Promise<{ folder: string; commit: string }> {
  const home = join(options.cache, model.id.replace('/', '--'));
  const folderOf = (commit: string) => join(home, options.weights ? commit : `${commit}-config`);
  const exists = (path: string) =>
    stat(path).then(
      () => true,
      () => false,
    );
  const whole = /^[0-9a-f]{40}$/.test(model.revision);
  if (whole && (await exists(folderOf(model.revision))))
    return { folder: folderOf(model.revision), commit: model.revision };
  const commit = await commitOf(hub, model);
  const folder = folderOf(commit);
  if (await exists(folder)) return { folder, commit };
  const files = (await filesOf(hub, model, commit)).filter(
    ({ path }) => MODEL_FILE.test(path) && (options.weights || !WEIGHTS.test(path)),
  );
  const problem = `${hub.endpoint}/${model.id} at ${commit}`;
  if (!files.some(({ path }) => path === 'config.json'))
    throw new LiloraError('BadModel', `${problem} has no config.json. Name a model in the Hugging Face layout.`);
  if (options.weights && !files.some(({ path }) => WEIGHTS.test(path))) {
    const fetch = `hf download ${model.id} --local-dir FOLDER && ${rewritten('FOLDER', 'FOLDER')}`;
    const next = `Name a revision that has them, or write them once (pickled weights): ${fetch}`;
    throw new LiloraError('BadModel', `${problem} has no weights in safetensors. ${next}`);
  }
  await withLock(home, `${commit}.lock`, async () => {
    if (await exists(folder)) return;
    const partial = `${folder}.partial`;
    await mkdir(partial, { recursive: true });
    const total = files.reduce((sum, { size }) => sum + size, 0);
    let done = 0;
    const onBytes = (bytes: number) => {
      done += bytes;
      options.onProgress?.(done, total);
    };
    await inLanes(LANES, files, (file) => fetchFile(hub, model, commit, file, join(partial, file.path), onBytes));
    await rename(partial, folder);
  });
  return { folder, commit };
}

async function commitOf(hub: Hub, model: HubModel): Promise<string> {
  const path = `/api/models/${model.id}/revision/${encodeURIComponent(model.revision)}`;
  const { sha } = (await (await retryRead(() => ask(hub, path, model))).json()) as { sha?: unknown };
  if (typeof sha === 'string' && /^[0-9a-f]{40}$/.test(sha)) return sha;
  throw strange(hub, path);
}

/** Files at the top of a revision, page by page. */
async function filesOf(hub: Hub, model: HubModel, commit: string): Promise<HubFile[]> {
  const files: HubFile[] = [];
  let path: string | null = `/api/models/${model.id}/tree/${commit}`;
  while (path !== null) {
    const page = path;
    const answer: Response = await retryRead(() => ask(hub, page, model));
    const entries: unknown = await answer.json();
    if (!Array.isArray(entries)) throw strange(hub, path);
    for (const entry of entries) {
      const { type, path: name, size, oid, lfs } = entry as Record<string, unknown>;
      // A name may become a path on this disk only when it is plain.
      if (type !== 'file' || typeof name !== 'string' || !/^[A-Za-z0-9_][\w.-]*$/.test(name)) continue;
      const large = lfs as { oid?: unknown; size?: unknown } | undefined;
      const hex = large?.oid ?? oid;
      const bytes = large?.size ?? size;
      if (typeof hex !== 'string' || !/^[0-9a-f]{40,64}$/.test(hex) || !Number.isSafeInteger(bytes))
        throw strange(hub, path);
      files.push({ path: name, size: bytes as number, digest: { kind: large ? 'sha256' : 'git', hex } });
    }
    const next: string | undefined = /<([^>]+)>;\s*rel="next"/.exec(answer.headers.get('link') ?? '')?.[1];
    const url: URL | null = next === undefined ? null : new URL(next, hub.endpoint);
    if (url && url.origin !== new URL(hub.endpoint).origin) throw strange(hub, path);
    path = url && url.pathname + url.search;
  }
  return files;
}

async function fetchFile(
  hub: Hub,
  model: HubModel,
  commit: string,
  file: HubFile,
  target: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  if (await stat(target).catch(() => null)) return onBytes(file.size);
  const part = `${target}.part`;
  const url = `/${model.id}/resolve/${commit}/${encodeURIComponent(file.path)}`;
  const name = `${hub.endpoint}${url}`;
  let told = 0;
  const tell = (bytes: number) => {
    onBytes(bytes - told);
    told = bytes;
  };
  await retryRead(async () => {
    let at = (await stat(part).catch(() => null))?.size ?? 0;
    if (at > file.size) at = 0;
    tell(at);
    if (at === file.size && at > 0) return;
    const answer = await ask(hub, url, model, {
      'accept-encoding': 'identity',
      ...(at > 0 && { range: `bytes=${at}-` }),
    });
    // A server that knows no ranges sends all of it.
    if (answer.status !== 206) at = 0;
    const out = await open(part, at > 0 ? 'a' : 'w');
    try {
      const body = Readable.fromWeb(answer.body as Parameters<typeof Readable.fromWeb>[0]);
      const idle = DEFAULTS['store.idleSeconds'].value * 1000;
      for await (const chunk of guardedChunks(body, file.size - at, idle, name)) {
        await out.writeFile(chunk);
        at += chunk.byteLength;
        tell(at);
      }
    } finally {
      await out.close();
    }
  });
  const found = file.digest.kind === 'sha256' ? await sha256File(part) : await gitDigest(part, file.size);
  if (found !== file.digest.hex) {
    await rm(part, { force: true });
    throw new LiloraError('IntegrityError', `${name}: its digest is ${found}, not ${file.digest.hex}. Fetch it again.`);
  }
  await rename(part, target);
}

/** What git calls a file. */
async function gitDigest(path: string, size: number): Promise<string> {
  const hash = createHash('sha1').update(`blob ${size}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** One answer of the hub; its body is read by who asked. */
async function ask(
  hub: Hub,
  path: string,
  { id, revision }: HubModel,
  headers: Record<string, string> = {},
): Promise<Response> {
  const where = `${hub.endpoint}${path}`;
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), DEFAULTS['store.idleSeconds'].value * 1000);
  const answer = await fetch(where, {
    // A redirect to another host does not carry the token on.
    headers: { ...headers, ...(hub.token !== undefined && { authorization: `Bearer ${hub.token}` }) },
    signal: silence.signal,
  })
    .catch((error: Error & { cause?: { code?: string } }) => {
      const problem = `${hub.endpoint} cannot be reached (${error.cause?.code ?? error.message}) for the model ${id}`;
      const next = 'Check the network and HF_ENDPOINT, or name a model folder of this machine';
      throw new LiloraError('StoreUnavailable', `${problem}. ${next}.`);
    })
    .finally(() => clearTimeout(timer));
  if (answer.ok) return answer;
  await answer.body?.cancel();
  const { status } = answer;
  if (status === 401 || status === 403) {
    const problem = `${where} gives no access (${status}): there is no such model, or it is private or gated`;
    throw new LiloraError('BadConfig', `${problem}. Check its name, accept its terms there, and set HF_TOKEN.`);
  }
  if (status === 404) {
    const problem = `${hub.endpoint} has no ${id} at ${revision} with ${path}, and there is no such folder here`;
    throw new LiloraError('NotFound', `${problem}. Check the name.`);
  }
  const name = status === 429 || status >= 500 ? 'StoreUnavailable' : 'BadConfig';
  throw new LiloraError(name, `${where} answered ${status}. Try again later, or check HF_ENDPOINT.`);
}

function strange(hub: Hub, path: string): LiloraError {
  return new LiloraError(
    'BadConfig',
    `${hub.endpoint}${path} does not answer as a Hugging Face hub. Check HF_ENDPOINT.`,
  );
}
