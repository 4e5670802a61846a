/**
 * Builds the Lambda functions into dist/: `npm ci && npm run build` (the repository's own packages must be installed too).
 *
 *   dist/trigger.zip        index.mjs, one file
 *   dist/orchestrator.zip   index.mjs, workflows.js, node_modules with the Temporal SDK that @temporalio/lambda-worker pins
 *
 * --out DIR puts them elsewhere.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const ROOT = resolve(HERE, '../..');
/** Lambda's own limit for an unpacked package. */
const LIMIT_MB = 250;

const ZIP = `
import os, sys, zipfile
folder, target = sys.argv[1:]
with zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
    for at, folders, names in sorted(os.walk(folder)):
        for name in sorted(names):
            path = os.path.join(at, name)
            info = zipfile.ZipInfo(os.path.relpath(path, folder), (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            with open(path, 'rb') as file:
                archive.writestr(info, file.read())
`;

const { values } = parseArgs({ options: { out: { type: 'string', default: join(HERE, 'dist') } } });
const out = resolve(values.out);
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const common = {
  bundle: true,
  platform: 'node',
  target: 'node22',
  format: 'esm',
  minify: true,
  keepNames: true, // names of errors and of activities are part of the protocol
  logLevel: 'warning',
  legalComments: 'none',
  // Packages in CommonJS ask for require, which a module does not have.
  banner: { js: "import{createRequire as requireOf}from'node:module';const require=requireOf(import.meta.url);" },
};

await build({
  ...common,
  entryPoints: [join(HERE, 'trigger.mjs')],
  outfile: join(out, 'trigger', 'index.mjs'),
  external: ['@aws-sdk/client-secrets-manager'],
});
report('trigger');

const orchestrator = join(out, 'orchestrator');
mkdirSync(orchestrator);
for (const name of ['package.json', 'package-lock.json'])
  cpSync(join(HERE, 'orchestrator', name), join(orchestrator, name));
run('npm', ['ci', '--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund', '--silent'], orchestrator);
await build({
  ...common,
  entryPoints: [join(HERE, 'orchestrator', 'handler.mjs')],
  outfile: join(orchestrator, 'index.mjs'),
  // The SDK must be the one that lambda-worker runs, wherever it is imported: it stays outside and is found beside the bundle.
  external: ['@temporalio/*', 'sharp', '@tensorflow/tfjs-node-gpu'],
  define: { LILORA_CODE_VERSION: JSON.stringify(codeVersion()) },
});
await bundleWorkflows();
prune(join(orchestrator, 'node_modules'));
report('orchestrator');

/** The version that lineage and checkpoints record, as workers of the repository tell it. */
function codeVersion() {
  const print = "import('./workers/runtime.ts').then((m) => process.stdout.write(m.codeVersion()))";
  return run(process.execPath, ['--import', 'tsx', '--eval', print], ROOT);
}

/** Workflows as one script, with the same SDK line. */
async function bundleWorkflows() {
  const inside = createRequire(join(orchestrator, 'package.json'));
  const { bundleWorkflowCode } = inside('@temporalio/worker');
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(ROOT, 'workflows', 'index.ts'),
    logger: { trace() {}, debug() {}, info() {}, warn: console.warn, error: console.error, log() {} },
    webpackConfigHook: (config) => ({
      ...config,
      resolve: { ...config.resolve, modules: [join(orchestrator, 'node_modules')] },
    }),
  });
  writeFileSync(join(orchestrator, 'workflows.js'), code);
}

/** Takes out what no function ever opens: source maps, other platforms. @param {string} folder */
function prune(folder) {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile() && /\.(map|ts|cts|mts)$/.test(entry.name)) rmSync(join(entry.parentPath, entry.name));
  const bridge = join(folder, '@temporalio', 'core-bridge');
  rmSync(join(bridge, 'sdk-core'), { recursive: true, force: true });
  for (const platform of readdirSync(join(bridge, 'releases')))
    if (platform !== 'x86_64-unknown-linux-gnu') rmSync(join(bridge, 'releases', platform), { recursive: true });
}

/** Packs a function and tells its size. @param {string} name */
function report(name) {
  const folder = join(out, name);
  const megabytes = Number(run('du', ['-sm', folder], out).split('\t')[0]);
  if (megabytes > LIMIT_MB) throw new Error(`${name} is ${megabytes} MB unpacked; Lambda takes ${LIMIT_MB}`);
  const zip = join(out, `${name}.zip`);
  // Python is on every machine that builds here, zip is not. Times are fixed: equal content gives an equal archive.
  run('python3', ['-c', ZIP, folder, zip], out);
  console.log(`${name}: ${megabytes} MB unpacked, ${(statSync(zip).size / 1e6).toFixed(2)} MB as ${zip}`);
}

/** @param {string} file @param {string[]} args @param {string} cwd */
function run(file, args, cwd) {
  const { status, stdout, stderr, error } = spawnSync(file, args, { cwd, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (error) throw error;
  if (status !== 0) throw new Error(`${file} ${args[0]} ended with ${status}:\n${stderr}\n${stdout}`);
  return stdout.trim();
}
