import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import { DEFAULTS } from '../core/defaults.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';
import { RateLimit } from './rate.ts';
import type { Receipt, Receiver } from './receive.ts';
import type { Submitter } from './submit.ts';
import { hasBearer, isSecretSegment, isSigned, mayBeSigned } from './webhook-auth.ts';

const MAX_BODY = DEFAULTS['trigger.maxBodyKibibytes'].value * 1024;
/** What a wrong secret costs of the budget of its source, in requests. */
const WRONG_SECRET = 100;
const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost', '[::1]']);

export interface ListenerOptions {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Null: whoever reaches the port may send events, so it must be reachable from this machine only. */
  readonly secret: string | null;
  readonly receiver: Receiver;
  readonly submitter: Submitter;
  readonly log: Logger;
}

export interface Listener {
  readonly port: number;
  /** Takes no new requests and waits for those under way, at most so many milliseconds. */
  stop(grace: number): Promise<void>;
}

/** Ends the handling of a request. */
class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * Listens for webhooks: `POST /s3` with the secret in a header or a signature, `POST /s3/SECRET` for senders that can
 * set no header, `GET /health`. Answers 2xx only when Temporal holds every submission, or when repeating would change
 * nothing; 503 when the sender should come again.
 */
export async function startListener(options: ListenerOptions): Promise<Listener> {
  if (options.secret === null && !LOOPBACK.has(options.host))
    throw new LiloraError(
      'BadConfig',
      `Without a secret the listener serves this machine only, not ${options.host}. Set LILORA_WEBHOOK_SECRET_FILE, or listen on 127.0.0.1.`,
    );
  const rate = new RateLimit(DEFAULTS['listen.requestsPerSecond'].value, DEFAULTS['listen.burst'].value);
  const server = createServer({
    headersTimeout: DEFAULTS['listen.headerSeconds'].value * 1000,
    requestTimeout: DEFAULTS['listen.requestSeconds'].value * 1000,
    keepAliveTimeout: 5000,
    connectionsCheckingInterval: 1000,
    maxHeaderSize: 8192,
  });
  server.maxConnections = DEFAULTS['listen.maxConnections'].value;
  server.on('request', (request, response) => {
    void handle(options, rate, request).then(
      ({ status, body }) => answer(response, status, body),
      (error: unknown) => fail(options.log, request, response, error),
    );
  });
  await new Promise<void>((listening, failed) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      failed(new LiloraError('BadConfig', `Cannot listen on ${options.host}:${options.port} (${error.code}).`)),
    );
    server.listen(options.port, options.host, listening);
  });
  return { port: (server.address() as AddressInfo).port, stop: (grace) => stop(server, grace) };
}

interface Answer {
  readonly status: number;
  readonly body?: object;
}

async function handle(options: ListenerOptions, rate: RateLimit, request: IncomingMessage): Promise<Answer> {
  const { submitter, receiver, log } = options;
  const source = request.socket.remoteAddress ?? '';
  if (!rate.take(source)) throw new Refusal(429, 'Too many requests: come again in a second.');
  const [path = ''] = (request.url ?? '').split('?');
  if (path === '/health') {
    if (request.method !== 'GET' && request.method !== 'HEAD') throw new Refusal(405, 'Use GET.');
    const temporal = await submitter.healthy();
    return { status: temporal ? 200 : 503, body: { status: temporal ? 'ok' : 'Temporal does not answer' } };
  }
  const [, top, segment, ...rest] = path.split('/');
  if (top !== 's3' || rest.length > 0) throw new Refusal(404, 'There is POST /s3 and GET /health.');
  if (request.method !== 'POST') throw new Refusal(405, 'Use POST.');
  const body = await authentic(options.secret, request, segment).catch((error: unknown) => {
    if (error instanceof Refusal && error.status === 401) {
      rate.take(source, WRONG_SECRET);
      log.warn({ source }, 'request without the right secret or signature');
    }
    throw error;
  });
  return answerOf(await receiver.receive(body));
}

/** The body of a request that proves that it knows the secret. Bodies of others are not read, but for a signature. */
async function authentic(secret: string | null, request: IncomingMessage, segment?: string): Promise<Buffer> {
  const { headers } = request;
  if (secret === null) {
    // A page in a browser of this machine can send requests too, but not without these marks.
    const host = (headers.host ?? '').replace(/:\d+$/, '');
    if (headers.origin !== undefined || !LOOPBACK.has(host)) throw new Refusal(403, 'Only from this machine.');
    return readBody(request);
  }
  if (segment !== undefined ? isSecretSegment(segment, secret) : hasBearer(headers, secret)) return readBody(request);
  if (segment === undefined && mayBeSigned(headers)) {
    const body = await readBody(request);
    if (isSigned(headers, body, secret)) return body;
  }
  throw new Refusal(401, 'Wrong secret or signature.');
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  if (request.headers['content-encoding']) throw new Refusal(415, 'Send the body as it is, not compressed.');
  const refusal = new Refusal(413, `The body is over the limit of ${MAX_BODY} bytes.`);
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY) throw refusal;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw refusal;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function answerOf({ tasks, ignored }: Receipt): Answer {
  // No body: versitygw reads none, and would keep the connection open for each event.
  if (tasks.length === 0) return { status: 204 };
  const late = tasks.some(({ outcome }) => outcome.status === 'unavailable');
  return { status: late ? 503 : 200, body: { ignored, tasks } };
}

function answer(response: ServerResponse, status: number, body?: object): void {
  if (response.destroyed) return;
  const text = body ? `${JSON.stringify(body)}\n` : '';
  const retry = status === 429 || status === 503 ? { 'retry-after': '1' } : {};
  if (text === '') response.writeHead(status, retry).end();
  else
    response
      .writeHead(status, { ...retry, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
      .end(text);
}

function fail(log: Logger, request: IncomingMessage, response: ServerResponse, error: unknown): void {
  // What was not read of a body is not worth waiting for.
  if (!request.complete) response.shouldKeepAlive = false;
  if (error instanceof Refusal) answer(response, error.status, { error: error.message });
  else if (isLiloraError(error, 'BadEvent')) {
    log.warn({ source: request.socket.remoteAddress, reason: error.message }, 'message cannot be read');
    answer(response, 400, { error: error.message });
  } else if (request.complete || !request.destroyed) {
    log.error({ reason: error instanceof Error ? error.message : String(error) }, 'request failed');
    answer(response, 500, { error: 'internal error' });
  } // else the sender went away
}

async function stop(server: Server, grace: number): Promise<void> {
  const closed = new Promise<void>((done) => server.close(() => done()));
  server.closeIdleConnections();
  const killer = setTimeout(() => server.closeAllConnections(), grace);
  await closed;
  clearTimeout(killer);
}
