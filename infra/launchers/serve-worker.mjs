#!/usr/bin/env node
/**
 * Runs inside the gpu image on platforms that call a container by HTTP (SageMaker asynchronous inference, Knative, a plain
 * container): an order runs one gpu worker until it has been idle for a while.
 *
 *   node infra/launchers/serve-worker.mjs        PORT (8080), LILORA_LAUNCHER_TOKEN (asked for when it is set)
 *
 * GET /ping or /healthz answers 200. POST takes {"queue", "idleExitSeconds", "key"}: / answers 202 at once, /invocations when
 * the worker has ended, for platforms that stop a container between requests. One worker per GPU: an order that comes while
 * one runs joins it, and a key that was carried out is not carried out again.
 */
import { spawn } from 'node:child_process';
import { timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

const LILORA = fileURLToPath(new URL('../../cli/lilora.mjs', import.meta.url));
const LARGEST_ORDER = 16 * 1024;
const port = Number(process.env.PORT || 8080);
const token = process.env.LILORA_LAUNCHER_TOKEN;

/** @type {{child: import('node:child_process').ChildProcess, ended: Promise<number>} | null} */
let running = null;
/** @type {string[]} orders that were carried out */
const done = [];

const server = createServer((request, response) => {
  const answer = (/** @type {number} */ status, /** @type {object} */ value) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(value)}\n`);
  if (request.method === 'GET' && (request.url === '/ping' || request.url === '/healthz'))
    return answer(200, { running: running !== null });
  if (request.method !== 'POST' || !['/', '/invocations'].includes(request.url ?? ''))
    return answer(404, { error: 'POST / or /invocations' });
  if (token && !same(request.headers.authorization ?? '', `Bearer ${token}`))
    return answer(401, { error: 'wrong token' });
  let body = '';
  request.on('data', (chunk) => {
    body += chunk;
    if (body.length > LARGEST_ORDER) request.destroy();
  });
  request.on('end', () => {
    const order = parseOrder(body);
    if (!order) return answer(400, { error: 'the order is {"queue": text, "idleExitSeconds": seconds, "key": text}' });
    if (done.includes(order.key)) return answer(200, { key: order.key, repeated: true });
    running ??= start(order);
    void running.ended.then((exitCode) => {
      // After a failure the same order may be tried again.
      if (exitCode === 0 && done.push(order.key) > 1000) done.shift();
      if (request.url === '/invocations') answer(exitCode === 0 ? 200 : 500, { key: order.key, exitCode });
    });
    if (request.url === '/') answer(202, { key: order.key });
  });
});

/** @param {string} a @param {string} b */
function same(a, b) {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

/** @param {string} body */
function parseOrder(body) {
  try {
    const { queue, idleExitSeconds, key } = JSON.parse(body);
    const good = typeof queue === 'string' && /^[\w.:/-]{1,200}$/.test(queue) && !queue.startsWith('-');
    return good && idleExitSeconds > 0 && typeof key === 'string' ? { queue, idleExitSeconds, key } : null;
  } catch {
    return null;
  }
}

/** @param {{queue: string, idleExitSeconds: number}} order */
function start({ queue, idleExitSeconds }) {
  const args = [LILORA, 'worker', 'gpu', '--queue', queue, '--idle-exit', String(idleExitSeconds)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const ended = new Promise((resolve) => {
    child.once('error', () => resolve(1));
    child.once('exit', (code) => resolve(code ?? 1));
  }).finally(() => {
    running = null;
  });
  return { child, ended };
}

// A request lasts as long as its worker.
server.requestTimeout = 0;
server.timeout = 0;
server.listen(port, () => console.error(`waiting for orders on port ${/** @type {any} */ (server.address()).port}`));
for (const signal of /** @type {const} */ (['SIGTERM', 'SIGINT']))
  process.on(signal, () => {
    running?.child.kill(signal); // it checkpoints and gives its task back
    server.close(() => process.exit(0));
    if (!running) process.exit(0);
  });
