/**
 * Runs one command under several Node versions, one after the other, and says how each ended:
 *
 *   node infra/setup/try-nodes.mjs [--nodes 20.19.0,22.23.3,24.21.0] -- npx vitest run core
 *
 * The executables are npm's `node-<platform>-<arch>` packages, kept in set-up's cache. Exit code 1 when any run failed.
 */
import { spawnSync } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { parseArgs } from 'node:util';
import { lock, place } from './cache.mjs';
import { command } from './command.mjs';
import { cacheRoot } from './places.mjs';
import { NODE_VERSIONS } from './versions.mjs';

const { values, positionals } = parseArgs({
  options: { nodes: { type: 'string', default: NODE_VERSIONS.join(',') } },
  allowPositionals: true,
});
if (positionals.length === 0) {
  process.stderr.write('usage: node infra/setup/try-nodes.mjs [--nodes V,V] -- COMMAND…\n');
  process.exit(2);
}
const results = [];
for (const version of values.nodes.split(',')) {
  const bin = await fetchNode(version);
  process.stderr.write(`\n── Node ${version}: ${positionals.join(' ')}\n`);
  const started = performance.now();
  const [file, ...args] = positionals;
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` };
  // `node` is looked up in the new PATH as well.
  const { status, signal, error } = spawnSync(file, args, { stdio: 'inherit', env });
  if (error) process.stderr.write(`${error.message}\n`);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  results.push({
    version,
    passed: status === 0,
    line: `Node ${version}: ${status === 0 ? 'passed' : `failed (${signal ?? status})`}, ${seconds} s`,
  });
}
process.stderr.write(`\n${results.map((result) => result.line).join('\n')}\n`);
process.exitCode = results.every((result) => result.passed) ? 0 : 1;

/** @param {string} version as in "22.23.3" @returns {Promise<string>} the folder that holds its `node` */
async function fetchNode(version) {
  if (!/^\d+\.\d+\.\d+$/.test(version)) throw new Error(`${version} is not a Node version like 22.23.3`);
  const cache = cacheRoot();
  const folder = join(cache, `node-${version}`);
  const release = await lock(join(cache, 'nodes.lock'));
  try {
    await place(folder, async (draft) => {
      const name = `node-${process.platform}-${process.arch}`;
      writeFileSync(join(draft, 'package.json'), '{}\n');
      await command('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', `${name}@${version}`], {
        cwd: draft,
      });
      renameSync(join(draft, 'node_modules', name, 'bin'), join(draft, 'bin'));
    });
  } finally {
    release();
  }
  return join(folder, 'bin');
}
