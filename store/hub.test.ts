import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { sha256 } from '../core/digest.ts';
import { fetchHubModel, hubModel } from './hub.ts';

const COMMIT = `${'c0ffee'.repeat(6).slice(0, 32)}deadbeef`;
const weights = new Uint8Array(300_000).map((_, i) => (i * 7919) >> 3);
const FILES: Record<string, Uint8Array> = {
  'config.json': Buffer.from('{"model_type": "llava"}'),
  'model-00001-of-00002.safetensors': weights,
  'model-00002-of-00002.safetensors': weights.slice(5),
  'tokenizer.json': Buffer.from('{}'),
  'chat_template.jinja': Buffer.from('{{ x }}'),
  'pytorch_model.bin': Buffer.from('pickle'),
  'README.md': Buffer.from('# x'),
};
const WANTED = Object.keys(FILES).filter((name) => !/bin|md/.test(name));

/** As the hub answers: revisions, trees in pages, files by redirect to another host that knows ranges. */
let asked: string[];
/** Changes an answer; true: it is given. */
let meddle: (request: IncomingMessage, response: ServerResponse) => boolean;
const git = (bytes: Uint8Array) => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

function api(request: IncomingMessage, response: ServerResponse): void {
  const url = request.url!;
  asked.push(url);
  if (meddle(request, response)) return;
  const json = (value: object, headers = {}) => response.writeHead(200, headers).end(JSON.stringify(value));
  if (url === '/api/models/org/tiny/revision/main' || url === '/api/models/org/tiny/revision/refs%2Fpr%2F1')
    return void json({ sha: COMMIT });
  const tree = `/api/models/org/tiny/tree/${COMMIT}`;
  if (url.startsWith(tree)) {
    const second = url.endsWith('?cursor=2');
    const entries = Object.entries(FILES).slice(...(second ? [3] : [0, 3]));
    const listed = entries.map(([path, bytes]) => ({
      ...{ type: 'file', path, size: bytes.length, oid: git(bytes) },
      ...(path.endsWith('.safetensors') && { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 } }),
    }));
    const more = { link: `<${origin(hub)}${tree}?cursor=2>; rel="next"` };
    const odd = [
      { type: 'directory', path: 'onnx', size: 0, oid: '0'.repeat(40) },
      { type: 'file', path: '../evil.json', size: 1, oid: '0'.repeat(40) },
    ];
    return void json([...listed, ...odd], second ? {} : more);
  }
  const [, name] = new RegExp(`^/org/tiny/resolve/${COMMIT}/(.+)$`).exec(url) ?? [];
  if (name === undefined) return void response.writeHead(404).end();
  response.writeHead(302, { location: `${origin(files)}/${name}` }).end();
}

function content(request: IncomingMessage, response: ServerResponse): void {
  asked.push(`${request.url} ${request.headers.range ?? 'all'}`);
  expect(request.headers.authorization).toBeUndefined();
  if (meddle(request, response)) return;
  const bytes = FILES[request.url!.slice(1)]!;
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': bytes.length - from }).end(bytes.subarray(from));
}

let hub: Server;
let files: Server;
let cache: string;
const origin = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const listening = (server: Server) =>
  new Promise<Server>((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
beforeAll(async () => {
  [hub, files] = [await listening(createServer(api)), await listening(createServer(content))];
});
afterAll(() => {
  for (const server of [hub, files]) {
    server.closeAllConnections();
    server.close();
  }
});
beforeEach(() => {
  asked = [];
  meddle = () => false;
  cache = mkdtempSync(join(tmpdir(), 'lilora-hub-'));
  return () => rmSync(cache, { recursive: true });
});

const TINY = { id: 'org/tiny', revision: 'main' };
const get = (options: Partial<Parameters<typeof fetchHubModel>[2]> = {}, model = TINY) =>
  fetchHubModel({ endpoint: origin(hub), token: 'secret' }, model, { cache, weights: true, ...options });

it('knows the names of models', () => {
  expect(hubModel('llava-hf/llava-1.5-7b-hf')).toEqual({ id: 'llava-hf/llava-1.5-7b-hf', revision: 'main' });
  expect(hubModel('hf://org/name@refs/pr/1')).toEqual({ id: 'org/name', revision: 'refs/pr/1' });
  for (const other of ['./a/b', '/a/b', 'a/b/c', 'a', 's3://a/b', 'org/na..me', 'org/name@a/../b', 'a\\b/c', 'hf://x'])
    expect(hubModel(other)).toBeNull();
});

it('comes as it is, once, at the commit that the hub names', async () => {
  meddle = ({ headers, url }) => {
    if (url!.startsWith('/api')) expect(headers.authorization).toBe('Bearer secret');
    return false;
  };
  const told: [number, number][] = [];
  const { folder, commit } = await get({ onProgress: (...now) => told.push(now) });
  expect(commit).toBe(COMMIT);
  expect(readdirSync(folder).sort()).toEqual([...WANTED].sort());
  for (const name of WANTED) expect(readFileSync(join(folder, name)).equals(FILES[name]!)).toBe(true);
  const total = WANTED.reduce((sum, name) => sum + FILES[name]!.length, 0);
  expect(told.at(-1)).toEqual([total, total]);
  asked = [];
  expect((await get()).folder).toBe(folder);
  expect((await get({}, { ...TINY, revision: 'refs/pr/1' })).folder).toBe(folder);
  expect(asked).toHaveLength(2);
  expect((await get({}, { ...TINY, revision: COMMIT })).folder).toBe(folder);
  expect(asked).toHaveLength(2);
  const config = await get({ weights: false });
  expect(readdirSync(config.folder)).toEqual(['chat_template.jinja', 'config.json', 'tokenizer.json']);
});

it('goes on where a connection broke, and where a process ended', async () => {
  let broken = 0;
  meddle = ({ url, headers }, response) => {
    if (url !== '/model-00001-of-00002.safetensors' || headers.range || broken++ > 0) return false;
    response.writeHead(200, { 'content-length': weights.length });
    response.write(weights.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50));
    return true;
  };
  const partial = join(cache, 'org--tiny', `${COMMIT}.partial`);
  mkdirSync(partial, { recursive: true });
  writeFileSync(join(partial, 'model-00002-of-00002.safetensors.part'), weights.subarray(5, 200_005));
  const { folder } = await get();
  for (const name of WANTED) expect(readFileSync(join(folder, name)).equals(FILES[name]!)).toBe(true);
  expect(asked.filter((line) => /safetensors (all|bytes)/.test(line)).sort()).toEqual([
    '/model-00001-of-00002.safetensors all',
    '/model-00001-of-00002.safetensors bytes=100000-',
    '/model-00002-of-00002.safetensors bytes=200000-',
  ]);
});

it('is asked for again while the hub is busy', async () => {
  let busy = 0;
  meddle = (_, response) => {
    if (busy++ > 0) return false;
    response.writeHead(503).end();
    return true;
  };
  expect((await get()).commit).toBe(COMMIT);
});

it('is refused where a byte is wrong, and nothing of it is used', async () => {
  for (const name of ['model-00001-of-00002.safetensors', 'tokenizer.json']) {
    meddle = ({ url }, response) => {
      if (url !== `/${name}`) return false;
      const bytes = Buffer.from(FILES[name]!);
      bytes[0]! ^= 1;
      response.end(bytes);
      return true;
    };
    await expect(get()).rejects.toThrow(new RegExp(`${name}: its digest is`));
    expect(existsSync(join(cache, 'org--tiny', COMMIT))).toBe(false);
    rmSync(join(cache, 'org--tiny'), { recursive: true });
  }
  meddle = () => false;
  expect((await get()).commit).toBe(COMMIT);
});

it('that is not to be had is an error that says what to do', async () => {
  const answering = (status: number) => (_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(status).end();
    return true;
  };
  meddle = answering(401);
  await expect(get()).rejects.toMatchObject({ name: 'BadConfig', message: expect.stringMatching(/set HF_TOKEN/) });
  meddle = answering(404);
  await expect(get()).rejects.toMatchObject({
    name: 'NotFound',
    message: expect.stringMatching(/no org\/tiny at main/),
  });
  meddle = (_, response) => {
    response.end('{"sha": "main"}');
    return true;
  };
  await expect(get()).rejects.toThrow(/does not answer as a Hugging Face hub/);
  const nobody = { endpoint: 'http://127.0.0.1:9', token: undefined };
  await expect(fetchHubModel(nobody, TINY, { cache, weights: true })).rejects.toMatchObject({
    name: 'StoreUnavailable',
    message: expect.stringMatching(/cannot be reached .* Check the network and HF_ENDPOINT/),
  });
});
