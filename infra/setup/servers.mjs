import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { place } from './cache.mjs';
import { command } from './command.mjs';
import { ROOT, temporalFolder, versitygwFolder } from './places.mjs';
import { GO_VERSION, VERSITYGW_VERSION } from './versions.mjs';

/**
 * Builds the Temporal launcher of infra/temporal-dev into the cache.
 * @param {string} cache @param {string} go the go executable
 * @returns {Promise<string>} path of the executable
 */
export async function buildTemporal(cache, go) {
  const folder = join(cache, temporalFolder());
  await place(folder, async (draft) => {
    await command(go, ['build', '-trimpath', '-ldflags=-s -w', '-o', join(draft, 'temporal-dev'), '.'], {
      cwd: join(ROOT, 'infra', 'temporal-dev'),
      env: await goEnvironment(go),
    });
    await command(join(draft, 'temporal-dev'), ['version']);
  });
  return join(folder, 'temporal-dev');
}

/**
 * Builds versitygw into the cache.
 * @param {string} cache @param {string} go the go executable
 * @returns {Promise<string>} path of the executable
 */
export async function buildVersitygw(cache, go) {
  const folder = join(cache, versitygwFolder());
  await place(folder, async (draft) => {
    const bin = join(draft, 'bin');
    mkdirSync(bin);
    const env = { ...(await goEnvironment(go)), GOBIN: bin };
    await command(
      go,
      ['install', '-ldflags=-s -w', `github.com/versity/versitygw/cmd/versitygw@v${VERSITYGW_VERSION}`],
      { env },
    );
    renameSync(join(bin, 'versitygw'), join(draft, 'versitygw'));
    rmSync(bin, { recursive: true });
    if (!existsSync(join(draft, 'versitygw'))) throw new Error('go install left no versitygw');
  });
  return join(folder, 'versitygw');
}

/**
 * The environment of every build: the same flags everywhere, so that Go compiles what both servers share only once. A Go that is new
 * enough builds with itself; an older one fetches the toolchain that go.mod names, as Go does by default.
 * @param {string} go
 */
async function goEnvironment(go) {
  const env = { ...process.env, GOFLAGS: '-trimpath -buildvcs=false', CGO_ENABLED: '0' };
  const version = (await command(go, ['env', 'GOVERSION'], { env: { ...env, GOTOOLCHAIN: 'local' } })).trim();
  if (newEnough(version)) env.GOTOOLCHAIN = 'local';
  else env.GOTOOLCHAIN = `go${GO_VERSION}+auto`;
  return env;
}

/** @param {string} version as in "go1.26.8" */
export function newEnough(version) {
  const have = version
    .replace(/^go/, '')
    .split(/[.\s-]/)
    .map(Number);
  const want = GO_VERSION.split('.').map(Number);
  for (const [i, need] of want.entries()) {
    if ((have[i] || 0) !== need) return (have[i] || 0) > need;
  }
  return true;
}
