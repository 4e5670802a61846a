import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ApplicationFailure } from '@temporalio/activity';
import { afterEach, expect, it, vi } from 'vitest';
import { isLiloraError } from '../core/errors.ts';
import { FolderStore } from '../store/folder.ts';
import { missingWorkers, stillPending } from './await-demand.ts';
import type { DataContext } from './context.ts';
import { launchWorker, refusal } from './launch-worker.ts';
import type { Launcher } from './platforms.ts';

interface Seen {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** A real server that answers one request as told and keeps what it was asked. */
async function platform(status: number, headers: Record<string, string> = {}) {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      seen.push({ url: request.url!, headers: request.headers, body });
      response.writeHead(status, headers).end('{"id": "job-1"}');
    });
  });
  await new Promise<void>((up) => server.listen(0, '127.0.0.1', up));
  const { port } = server.address() as AddressInfo;
  cleanups.push(() => server.close());
  return { seen, url: `http://127.0.0.1:${port}` };
}
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0)) clean();
  vi.unstubAllEnvs();
});

const launcher = (platformName: Launcher['platform'], endpoint: string): Launcher => ({
  queue: 'lilora-gpu',
  platform: platformName,
  endpoint,
  maxWorkers: 1,
  idleExitSeconds: 60,
  startSeconds: 300,
  pollSeconds: 5,
});
const order = { queue: 'lilora-gpu', key: 'lilora-gpu/run-1/0' };
const context = { store: new FolderStore('/nowhere') } as unknown as DataContext;
const thrown = (work: Promise<unknown>) =>
  work.then(
    () => expect.unreachable(),
    (error) => error,
  );

it('asks RunPod for a job, with the key and the order as its input', async () => {
  const { seen, url } = await platform(200);
  vi.stubEnv('RUNPOD_API_KEY', 'rp-secret');
  const result = await launchWorker(context, launcher('runpod', `${url}/v2/abc`), order);
  expect(result).toMatchObject({ started: true });
  expect(seen[0]!.url).toBe('/v2/abc/run');
  expect(seen[0]!.headers.authorization).toBe('Bearer rp-secret');
  expect(JSON.parse(seen[0]!.body)).toEqual({ input: { ...order, idleExitSeconds: 60 } });
  expect(JSON.stringify(result)).not.toContain('rp-secret');
});

it('asks a Modal function through proxy authentication', async () => {
  const { seen, url } = await platform(200);
  vi.stubEnv('MODAL_KEY', 'wk-1');
  vi.stubEnv('MODAL_SECRET', 'ws-1');
  expect(await launchWorker(context, launcher('modal', url), order)).toMatchObject({ started: true });
  expect(seen[0]!.headers).toMatchObject({ 'modal-key': 'wk-1', 'modal-secret': 'ws-1' });
  expect(JSON.parse(seen[0]!.body)).toEqual({ ...order, idleExitSeconds: 60 });
});

it('gives SageMaker the order as an object of the store, in a signed request', async () => {
  const { seen, url } = await platform(202, { 'content-type': 'application/json' });
  vi.stubEnv('AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME', url);
  vi.stubEnv('AWS_REGION', 'eu-west-1');
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIATEST');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret-of-the-test');
  const written: [string, string][] = [];
  const store = {
    describe: () => 's3://bucket/lilora',
    create: async (key: string, bytes: Uint8Array) => {
      written.push([key, Buffer.from(bytes).toString()]);
      return 'created';
    },
  };
  const result = await launchWorker({ store } as unknown as DataContext, launcher('sagemaker', 'lilora-gpu'), order);
  expect(result).toMatchObject({ started: true });
  expect(written).toEqual([['launches/lilora-gpu/run-1/0.json', JSON.stringify({ ...order, idleExitSeconds: 60 })]]);
  expect(seen[0]!.url).toBe('/endpoints/lilora-gpu/async-invocations');
  expect(seen[0]!.headers['x-amzn-sagemaker-inputlocation']).toBe(
    's3://bucket/lilora/launches/lilora-gpu/run-1/0.json',
  );
  expect(seen[0]!.headers.authorization).toMatch(/^AWS4-HMAC-SHA256 Credential=AKIATEST\/\d{8}\/eu-west-1\/sagemaker/);
});

it('sends no request without credentials, and says which variable is missing', async () => {
  const { seen, url } = await platform(200);
  vi.stubEnv('LILORA_LAUNCHER_TOKEN', '');
  const result = await launchWorker(context, launcher('http', url), order);
  expect(result).toMatchObject({ started: false });
  expect(result.message).toMatch(/BadConfig.*LILORA_LAUNCHER_TOKEN/);
  expect(result.retrySeconds).toBeGreaterThan(0);
  expect(seen).toEqual([]);
});

it('answers what a person has to mend and throws what may pass', async () => {
  vi.stubEnv('LILORA_LAUNCHER_TOKEN', 'token-of-the-test');
  const refused = await launchWorker(context, launcher('http', (await platform(403)).url), order);
  expect(refused).toMatchObject({ started: false });
  expect(refused.message).toContain('403');
  const busy = await thrown(launchWorker(context, launcher('http', (await platform(503)).url), order));
  expect(isLiloraError(busy, 'PlatformUnavailable')).toBe(true);
  const gone = await thrown(launchWorker(context, launcher('http', 'http://127.0.0.1:9'), order));
  expect(isLiloraError(gone, 'PlatformUnavailable')).toBe(true);
  // A redirect would carry the token elsewhere.
  const elsewhere = await platform(200);
  const { url } = await platform(307, { location: elsewhere.url });
  expect(isLiloraError(await thrown(launchWorker(context, launcher('http', url), order)), 'PlatformUnavailable')).toBe(
    true,
  );
  expect(elsewhere.seen).toEqual([]);
});

it('waits as long as the platform asks, within bounds', () => {
  const failure = refusal('runpod', 429, 'slow down', '30') as ApplicationFailure;
  expect(failure).toBeInstanceOf(ApplicationFailure);
  expect(failure).toMatchObject({ type: 'PlatformUnavailable', nonRetryable: false, nextRetryDelay: 30_000 });
  expect(refusal('runpod', 429, '', '86400')).toMatchObject({ nextRetryDelay: 600_000 });
  expect(refusal('runpod', 429, '', 'Wed, 21 Oct 2026 07:28:00 GMT')).toMatchObject({ name: 'PlatformUnavailable' });
});

it('asks for as many workers as tasks wait for, within the limit', () => {
  const view = (backlog: number, ...since: number[]) => ({
    backlog,
    workers: since.map((at, i) => ({ identity: `${i}`, since: at })),
  });
  expect(missingWorkers(view(0), [], 4)).toBe(0);
  expect(missingWorkers(view(3), [], 4)).toBe(3);
  expect(missingWorkers(view(3), [10, 11], 4)).toBe(1);
  expect(missingWorkers(view(9, 1, 1, 1), [], 4)).toBe(1);
  expect(missingWorkers(view(9, 1, 1, 1, 1), [], 4)).toBe(0);
});

it('counts a launch until its worker is seen or its time is over', () => {
  const at = 1_000_000;
  const none = { backlog: 1, workers: [] };
  expect(stillPending(none, [at], 300, at + 299_000)).toEqual([at]);
  expect(stillPending(none, [at], 300, at + 301_000)).toEqual([]);
  const seen = { backlog: 1, workers: [{ identity: 'a', since: at + 20_000 }] };
  expect(stillPending(seen, [at], 300, at + 30_000)).toEqual([]);
  expect(stillPending(seen, [at, at + 25_000], 300, at + 30_000)).toEqual([at + 25_000]);
  const older = { backlog: 1, workers: [{ identity: 'a', since: at - 60_000 }] };
  expect(stillPending(older, [at], 300, at + 30_000)).toEqual([at]);
});
