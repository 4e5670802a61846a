import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { Client, Connection } from '@temporalio/client';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Listener, type ListenerOptions, startListener } from './listener.ts';
import { Receiver } from './receive.ts';
import { readRules } from './rules.ts';
import { Submitter } from './submit.ts';

/** The listener's doors. No Temporal is there: nothing here gets as far as a submission. */
const SECRET = 'a-secret-of-this-test/with+more=';
const EVENT = readFileSync(new URL('../test/fixtures/events/versitygw-test.json', import.meta.url));
const rules = readRules(JSON.stringify({ schema: 1, rules: [{ bucket: 'data', stream: 'pets' }] }), 'rules');

let listener: Listener;
let connection: Connection;
let logged: string;
beforeEach(() => {
  logged = '';
});
afterEach(async () => {
  await listener?.stop(100);
  await connection?.close();
});

async function start(options: Partial<ListenerOptions> = {}): Promise<void> {
  connection = Connection.lazy({ address: '127.0.0.1:1' });
  const submitter = new Submitter(new Client({ connection }));
  const log = pino({ level: 'debug' }, { write: (line: string) => (logged += line) });
  const receiver = new Receiver(rules, submitter, log);
  listener = await startListener({ host: '127.0.0.1', port: 0, secret: SECRET, receiver, submitter, log, ...options });
}

interface Sent {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string | number>;
  readonly body?: Buffer | string | null;
}

/** Sends a request as it is told to, however wrong; the status, or the code of a broken connection. */
function send({ method = 'POST', path = '/s3', headers = {}, body = EVENT }: Sent = {}): Promise<number | string> {
  return new Promise((done) => {
    const sent = request({ host: '127.0.0.1', port: listener.port, method, path, headers, agent: false }, (answer) => {
      answer.resume();
      answer.on('end', () => done(answer.statusCode!));
    });
    sent.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    sent.end(body ?? undefined);
  });
}

/** A signature by the Standard Webhooks scheme, made here by hand: https://www.standardwebhooks.com */
function signed(body: Buffer, key: Buffer | string, { age = 0, id = 'msg_1' } = {}) {
  const timestamp = Math.floor(Date.now() / 1000) - age;
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` };
}

describe('with a secret', () => {
  beforeEach(() => start());

  it('lets in who knows it, by header, signature or path', async () => {
    expect(await send({ headers: { authorization: `Bearer ${SECRET}` } })).toBe(204);
    expect(await send({ headers: { authorization: SECRET } })).toBe(204);
    expect(await send({ path: `/s3/${encodeURIComponent(SECRET)}` })).toBe(204);
    expect(await send({ headers: signed(EVENT, SECRET) })).toBe(204);
    const rotated = `v1,${'A'.repeat(43)}= ${signed(EVENT, SECRET)['webhook-signature']}`;
    expect(await send({ headers: { ...signed(EVENT, SECRET), 'webhook-signature': rotated } })).toBe(204);
  });

  it.each<[string, Sent]>([
    ['nothing', {}],
    ['another secret', { headers: { authorization: `Bearer ${SECRET}x` } }],
    ['an empty one', { headers: { authorization: 'Bearer ' } }],
    ['another path', { path: '/s3/a-secret-of-this-tesT' }],
    ['an empty path', { path: '/s3/' }],
    ['the right header on a wrong path', { path: '/s3/x', headers: { authorization: `Bearer ${SECRET}` } }],
    ['the signature of another body', { headers: signed(Buffer.from('{}'), SECRET) }],
    ['the signature of another key', { headers: signed(EVENT, 'another-secret-of-this-test') }],
    ['a signature of ten minutes ago', { headers: signed(EVENT, SECRET, { age: 600 }) }],
    ['a signature of the future', { headers: signed(EVENT, SECRET, { age: -600 }) }],
    ['half of a signature', { headers: { 'webhook-signature': signed(EVENT, SECRET)['webhook-signature'] } }],
  ])('refuses %s', async (_, sent) => {
    expect(await send(sent)).toBe(401);
    expect(logged).toMatch(/without the right secret or signature/);
  });

  it.each<[string, number, Sent]>([
    ['another place', 404, { path: '/' }],
    ['a longer path', 404, { path: `/s3/${encodeURIComponent(SECRET)}/more` }],
    ['another method', 405, { method: 'GET', body: null }],
    ['a compressed body', 415, { headers: { authorization: SECRET, 'content-encoding': 'gzip' } }],
    ['a body that is announced as too long', 413, { headers: { authorization: SECRET, 'content-length': 2 ** 30 } }],
    ['no JSON', 400, { headers: { authorization: SECRET }, body: 'hello' }],
    ['another message', 400, { headers: { authorization: SECRET }, body: '{"foo": 2}' }],
    ['no body', 400, { headers: { authorization: SECRET }, body: null }],
  ])('refuses %s with %i', async (_, status, sent) => {
    expect(await send(sent)).toBe(status);
  });

  it('stops reading a body that grows over the limit', async () => {
    const sent = send({
      headers: { authorization: SECRET, 'transfer-encoding': 'chunked' },
      body: Buffer.alloc(2 ** 22),
    });
    // The answer may be lost when the connection is closed on a sender that still writes.
    expect([413, 'ECONNRESET', 'EPIPE']).toContain(await sent);
  });

  it('never logs the secret', async () => {
    await send({ path: `/s3/${encodeURIComponent(SECRET)}`, body: 'hello' });
    await send({ headers: { authorization: `Bearer ${SECRET}x` } });
    expect(logged).toMatch(/message cannot be read/);
    for (const text of [SECRET, encodeURIComponent(SECRET)]) expect(logged).not.toContain(text);
  });

  it('stops listening to a source that guesses', async () => {
    const guess = () => send({ headers: { authorization: 'guess' } });
    const answers = await Promise.all(Array.from({ length: 100 }, guess));
    expect(answers.filter((status) => status === 401).length).toBeGreaterThanOrEqual(50);
    expect(answers.filter((status) => status === 429).length).toBeGreaterThan(20);
  });

  it('says that Temporal is away', async () => {
    expect(await send({ method: 'GET', path: '/health', body: null })).toBe(503);
  });

  it('drops a sender that never ends its headers', async () => {
    const started = Date.now();
    const socket = connect(listener.port, '127.0.0.1');
    socket.write('POST /s3 HTTP/1.1\r\nHost: x\r\n');
    const drip = setInterval(() => socket.write('X-A: b\r\n'), 500);
    socket.on('error', () => {});
    await new Promise((closed) => socket.once('close', closed));
    clearInterval(drip);
    expect(Date.now() - started).toBeLessThan(15_000);
  });

  it('takes a signing secret of the Standard Webhooks form', async () => {
    await listener.stop(100);
    const key = Buffer.alloc(24, 7);
    await start({ secret: `whsec_${key.toString('base64')}` });
    expect(await send({ headers: signed(EVENT, key) })).toBe(204);
    expect(await send({ headers: signed(EVENT, `whsec_${key.toString('base64')}`) })).toBe(401);
  });
});

describe('without a secret', () => {
  it('serves this machine only', async () => {
    await expect(start({ secret: null, host: '0.0.0.0' })).rejects.toThrow(/serves this machine only/);
    await start({ secret: null });
    expect(await send()).toBe(204);
    expect(await send({ headers: { host: 'localhost' } })).toBe(204);
    expect(await send({ headers: { host: 'rebound.example' } })).toBe(403);
    expect(await send({ headers: { origin: 'https://page.example' } })).toBe(403);
  });

  it('says in words that a port is taken', async () => {
    await start();
    const taken = start({ port: listener.port });
    await expect(taken).rejects.toThrow(/Cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\)/);
  });
});
