/**
 * Everything that `npm test` and `npm run demo` need, made or found: npm packages, the TensorFlow addon, a Temporal server, an S3 server.
 *
 *   node infra/setup/main.mjs [--only PART]… [--quiet]        PART: packages, tensors, temporal, s3
 *
 * Safe to repeat (less than a second when all is there), to interrupt and to run twice at once. It has no npm dependency, because it runs
 * before there are any. LILORA_CACHE moves the cache; LILORA_TENSORFLOW is cpu, gpu, stock or javascript.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { lock, sweep } from './cache.mjs';
import { choices } from './choose.mjs';
import { endCommands } from './command.mjs';
import * as parts from './parts.mjs';
import { cacheRoot } from './places.mjs';
import { Progress } from './progress.mjs';

const ALL = [parts.packages, parts.tensors, parts.temporal, parts.s3];

/** @type {() => void} */
let release = () => {};

process.exitCode = await main();

async function main() {
  let options;
  try {
    options = readOptions();
  } catch (error) {
    process.stderr.write(
      `${error.message}\nusage: node infra/setup/main.mjs [--only ${ALL.map((p) => p.name).join('|')}]… [--quiet]\n`,
    );
    return 2;
  }
  const { node } = choices();
  if (!node.supported) {
    process.stderr.write(`This is Node ${node.version}; the project needs 20.19 or later: https://nodejs.org\n`);
    return 1;
  }
  const { chosen, named, quiet } = options;
  const progress = new Progress(quiet);
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(signal, () => {
      endCommands();
      release();
      process.stderr.write('set-up was interrupted; the next run goes on from here\n');
      process.exit(130);
    });
  }
  try {
    if (chosen.some((part) => !part.ready(named.has(part.name)))) await makeMissing(chosen, named, progress);
    for (const part of chosen) progress.done(part.name, part.describe());
    return 0;
  } catch (error) {
    process.stderr.write(`set-up failed: ${error.message}\n`);
    return 1;
  } finally {
    progress.end();
    release();
  }
}

async function makeMissing(chosen, named, progress) {
  const cache = cacheRoot();
  release = await lock(join(cache, 'setup.lock'), {
    onWait: (pid) => progress.warn('set-up', `another set-up is at work (process ${pid}); waiting for it`),
  });
  sweep(cache);
  // npm ci empties node_modules, and with it goes the addon.
  const reinstall = chosen.includes(parts.packages) && !parts.packages.ready();
  const job = { progress, cache, packages: Promise.resolve() };
  const makeOne = async (part) => {
    // Asked again: while this one waited for the lock another set-up may have made it.
    if (!chosen.includes(part)) return;
    if (part.ready(named.has(part.name)) && !(reinstall && part === parts.tensors)) return;
    await part.make(job);
    progress.done(part.name, 'done');
  };
  // npm, the wheel's download and Go overlap; the two Go builds share their compiled packages, so they go one after the other.
  job.packages = makeOne(parts.packages);
  const outcomes = await Promise.allSettled([
    job.packages,
    makeOne(parts.tensors),
    makeOne(parts.temporal).then(() => makeOne(parts.s3)),
  ]);
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') throw outcome.reason;
  }
}

function readOptions() {
  const { values } = parseArgs({
    options: { only: { type: 'string', multiple: true, default: [] }, quiet: { type: 'boolean', default: false } },
  });
  const named = new Set(values.only);
  for (const name of named) {
    if (!ALL.some((part) => part.name === name)) throw new Error(`there is no part ${name}`);
  }
  const needed = new Set(named);
  if (named.has('tensors')) needed.add('packages'); // the addon goes into a package
  const chosen = named.size ? ALL.filter((part) => needed.has(part.name)) : ALL;
  return { chosen, named, quiet: values.quiet };
}
