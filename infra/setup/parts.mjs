import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { addonPlan, choices, find, s3Endpoint, thisMachine } from './choose.mjs';
import { command } from './command.mjs';
import { forgetFailure, recentFailure, rememberFailure } from './failures.mjs';
import { packagesInstalled } from './packages.mjs';
import { ADDON_PACKAGE, addonFolder, cacheRoot, ROOT, temporalFolder, versitygwFolder } from './places.mjs';
import { buildTemporal, buildVersitygw } from './servers.mjs';
import { compileAddon, fetchTensorflow, installedAddon, linkAddon, smokeTest } from './tensorflow.mjs';

/**
 * @typedef {{progress: import('./progress.mjs').Progress, cache: string, packages: Promise<void>}} Job `packages`: settled when the npm packages are there
 * @typedef {{name: string, ready: (named?: boolean) => boolean, make: (job: Job) => Promise<void>, describe: () => string}} Part
 */

const machine = () => thisMachine();

/** @param {string} key @param {boolean} [named] */
const gaveUp = (key, named) => !named && recentFailure(cacheRoot(), key) !== undefined;

/** @type {Part} npm packages, exactly as locked, without running anybody's install scripts. */
export const packages = {
  name: 'packages',
  ready: () => packagesInstalled(ROOT),
  describe: () => 'npm packages as locked',
  make: async ({ progress }) => {
    progress.begin('packages', 'npm ci (about half a minute)');
    await command('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: ROOT });
  },
};

/** Which build of the addon is wanted, and whether another try makes sense. */
function wantedAddon() {
  const mode = process.env.LILORA_TENSORFLOW;
  const plan = addonPlan(machine());
  if (mode === 'javascript') return { mode: 'javascript' };
  if (mode === 'stock' || !plan || plan.lacks.length) return { mode: 'stock' };
  return { mode: 'build', variant: plan.variant };
}

/** @type {Part} The TensorFlow addon: built here, else the stock download, else none (pure JavaScript). */
export const tensors = {
  name: 'tensors',
  ready: (named) => {
    const wanted = wantedAddon();
    if (wanted.mode === 'javascript') return true;
    const has = installedAddon(ROOT);
    if (has.kind === 'addon' && wanted.mode === 'build' && has.variant === wanted.variant) return true;
    if (wanted.mode === 'build') return gaveUp(addonFolder(wanted.variant), named);
    return has.kind !== 'none' || gaveUp('stock-addon', named);
  },
  describe: () => choices().tensors.detail,
  make: async (job) => {
    const wanted = wantedAddon();
    const variants = wanted.mode !== 'build' ? [] : wanted.variant === 'gpu' ? ['gpu', 'cpu'] : ['cpu'];
    for (const variant of variants) {
      if (await tryBuild(job, /** @type {'cpu'|'gpu'} */ (variant))) return;
    }
    await tryStock(job);
  },
};

async function tryBuild(job, variant) {
  const { progress, cache } = job;
  try {
    progress.begin(
      'tensors',
      `TensorFlow for the ${variant === 'gpu' ? 'GPU (about 3 GB, several minutes)' : 'CPU (270 MB)'}`,
    );
    const deps = await fetchTensorflow(cache, variant);
    await job.packages;
    progress.begin('tensors', 'compiling the addon (about 15 seconds)');
    const binding = await compileAddon(ROOT, cache, variant, deps);
    linkAddon(ROOT, variant, deps, binding);
    const { gpu } = await smokeTest(ROOT);
    if (variant === 'gpu' && !gpu)
      progress.warn('tensors', 'the CUDA build works, but TensorFlow found no usable GPU: it computes on the CPU');
    forgetFailure(cache, addonFolder(variant));
    return true;
  } catch (error) {
    rememberFailure(cache, addonFolder(variant), error.message);
    progress.warn('tensors', `cannot build the addon for the ${variant}: ${error.message}`);
    removeAddon();
    return false;
  }
}

async function tryStock(job) {
  const { progress, cache } = job;
  try {
    progress.begin('tensors', "the package's own prebuilt addon");
    await job.packages;
    const inside = join(ROOT, ADDON_PACKAGE);
    await command(process.execPath, [join(inside, 'scripts', 'install.js'), 'gpu', 'download'], { cwd: inside });
    await smokeTest(ROOT);
    forgetFailure(cache, 'stock-addon');
  } catch (error) {
    rememberFailure(cache, 'stock-addon', error.message);
    progress.warn(
      'tensors',
      `no prebuilt addon either, so tensors are computed in JavaScript, slowly: ${error.message}`,
    );
    removeAddon();
  }
}

/** Nothing half may stay where the package looks. */
function removeAddon() {
  rmSync(join(ROOT, ADDON_PACKAGE, 'lib'), { recursive: true, force: true });
  rmSync(join(ROOT, ADDON_PACKAGE, 'deps'), { recursive: true, force: true });
}

/** @type {Part} A Temporal server, unless TEMPORAL_ADDRESS names one. */
export const temporal = {
  name: 'temporal',
  ready: (named) => {
    if (process.env.TEMPORAL_ADDRESS) return true;
    const built = choices().temporal.kind === 'cached';
    return built || !find(machine(), 'go') || gaveUp(temporalFolder(), named);
  },
  describe: () => {
    const chosen = choices().temporal;
    if (chosen.kind === 'address') return `Temporal at ${chosen.address} (TEMPORAL_ADDRESS)`;
    if (chosen.kind === 'cached') return "the project's Temporal server";
    if (chosen.kind === 'cli') return `the temporal command ${chosen.path}`;
    return 'no server yet: the Temporal SDK downloads one when it is first needed';
  },
  make: (job) =>
    build(job, 'temporal', temporalFolder(), 'building the Temporal server with Go (about 5 minutes)', buildTemporal),
};

/** @type {Part} An S3 server, unless the AWS configuration names an endpoint. */
export const s3 = {
  name: 's3',
  ready: (named) => {
    if (s3Endpoint(machine())) return true;
    const built = choices().s3.kind === 'versitygw';
    return built || !find(machine(), 'go') || gaveUp(versitygwFolder(), named);
  },
  describe: () => {
    const chosen = choices().s3;
    if (chosen.kind === 'endpoint') return `S3 at ${chosen.endpoint} (AWS configuration)`;
    if (chosen.kind === 'versitygw') return 'versitygw, an S3 server on a folder';
    return 'no S3 server: objects are kept in a plain folder of this machine';
  },
  make: (job) => build(job, 's3', versitygwFolder(), 'building versitygw with Go (about 1 minute)', buildVersitygw),
};

async function build({ progress, cache }, part, key, what, run) {
  progress.begin(part, what);
  try {
    await run(cache, find(machine(), 'go'));
    forgetFailure(cache, key);
  } catch (error) {
    rememberFailure(cache, key, error.message);
    progress.warn(part, error.message);
  }
}
