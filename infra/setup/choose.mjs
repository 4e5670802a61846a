import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { cacheRoot, ROOT, temporalFolder, versitygwFolder, which } from './places.mjs';
import { installedAddon } from './tensorflow.mjs';
import { VERSITYGW_VERSION } from './versions.mjs';

/** Named parts are tried even when they failed a short while ago. */
const setup = (/** @type {string} */ part) => `node infra/setup/main.mjs --only ${part}`;

/**
 * What this machine is, as far as the choice depends on it. Tests give their own.
 * @returns {import('./choose.d.mts').World}
 */
export function thisMachine() {
  return {
    root: ROOT,
    env: process.env,
    platform: process.platform,
    arch: process.arch,
    nodeVersion: process.versions.node,
    exists: existsSync,
    executable: (path) => {
      try {
        accessSync(path, constants.X_OK);
        return statSync(path).isFile();
      } catch {
        return false;
      }
    },
    read: (path) => {
      try {
        return readFileSync(path, 'utf8');
      } catch {
        return undefined;
      }
    },
  };
}

/**
 * Which tensor engine, Temporal server and object store this machine uses now, and what is missing. Looks only; starts and builds nothing.
 * @param {import('./choose.d.mts').World} world
 * @returns {import('./choose.d.mts').Choices}
 */
export function choices(world = thisMachine()) {
  /** @type {import('./choose.d.mts').Missing[]} */
  const missing = [];
  const node = chooseNode(world, missing);
  return {
    tensors: chooseTensors(world, missing),
    temporal: chooseTemporal(world, missing),
    s3: chooseS3(world, missing),
    node,
    cache: cacheRoot(world.env),
    missing,
  };
}

/** @param {import('./choose.d.mts').World} world */
export const find = (world, name) => which(name, world.env, world.executable);

/** Is an NVIDIA driver loaded? @param {import('./choose.d.mts').World} world */
export const hasNvidia = (world) => world.exists('/proc/driver/nvidia/version') || world.exists('/dev/nvidiactl');

/**
 * Which build of the addon this machine should have; undefined where it cannot be built.
 * @param {import('./choose.d.mts').World} world
 * @returns {{variant: 'cpu'|'gpu', lacks: import('./choose.d.mts').Missing[]} | undefined} `lacks`: the tools that are missing for it
 */
export function addonPlan(world) {
  if (world.platform !== 'linux' || world.arch !== 'x64') return undefined;
  const lacks = [];
  const why = 'the TensorFlow addon is compiled on this machine';
  if (!find(world, world.env.CXX || 'g++')) {
    lacks.push({ what: 'a C++ compiler (g++)', why, mend: `sudo apt-get install -y g++ && ${setup('tensors')}` });
  }
  if (!find(world, 'python3')) {
    const download = 'pip downloads the TensorFlow library (no Python runs later)';
    lacks.push({
      what: 'python3 with pip',
      why: download,
      mend: `sudo apt-get install -y python3-pip && ${setup('tensors')}`,
    });
  }
  const wanted = world.env.LILORA_TENSORFLOW;
  return { variant: wanted === 'cpu' || wanted === 'gpu' ? wanted : hasNvidia(world) ? 'gpu' : 'cpu', lacks };
}

function chooseTensors(world, missing) {
  const installed = installedAddon(world.root, world);
  if (installed.kind === 'addon') {
    if (installed.variant === 'cpu' && addonPlan(world)?.variant === 'gpu') {
      missing.push({
        what: 'the CUDA build of TensorFlow',
        why: 'an NVIDIA driver is here, the addon is for the CPU',
        mend: setup('tensors'),
      });
    }
    return installed.variant === 'gpu'
      ? { kind: 'addon-gpu', detail: 'tfjs-node-gpu, built here against TensorFlow 2.21.0 with CUDA 12' }
      : { kind: 'addon-cpu', detail: 'tfjs-node-gpu, built here against TensorFlow 2.21.0 for the CPU' };
  }
  const lacks = addonPlan(world)?.lacks ?? [];
  if (installed.kind === 'stock') {
    missing.push(...lacks);
    return { kind: 'stock', detail: 'tfjs-node-gpu with its prebuilt TensorFlow 2.9.1 (CUDA 11.2)' };
  }
  if (lacks.length) missing.push(...lacks);
  else
    missing.push({
      what: 'the native TensorFlow addon',
      why: 'pure JavaScript is about 80 times slower',
      mend: setup('tensors'),
    });
  return { kind: 'javascript', detail: '@tensorflow/tfjs on its pure JavaScript back end: for small tests only' };
}

function chooseTemporal(world, missing) {
  const address = world.env.TEMPORAL_ADDRESS;
  if (address) return { kind: 'address', address };
  const built = join(cacheRoot(world.env), temporalFolder(world.root), 'temporal-dev');
  if (world.executable(built)) return { kind: 'cached', path: built };
  const why = "the project's own server has the serverless workers and the newest Web UI";
  if (find(world, 'go')) missing.push({ what: 'the Temporal server build', why, mend: setup('temporal') });
  else
    missing.push({ what: 'Go 1.21 or later', why, mend: `install Go (https://go.dev/dl), then: ${setup('temporal')}` });
  const cli = find(world, 'temporal');
  if (cli) return { kind: 'cli', path: cli };
  if (world.exists(join(world.root, 'node_modules', '@temporalio', 'testing'))) return { kind: 'download' };
  return { kind: 'missing' };
}

function chooseS3(world, missing) {
  const endpoint = s3Endpoint(world);
  if (endpoint) return { kind: 'endpoint', endpoint };
  const built = join(cacheRoot(world.env), versitygwFolder(), 'versitygw');
  if (world.executable(built)) return { kind: 'versitygw', path: built };
  const why = 'without an S3 server objects are kept in a plain folder of this machine';
  if (find(world, 'go')) missing.push({ what: `versitygw ${VERSITYGW_VERSION}`, why, mend: setup('s3') });
  else
    missing.push({
      what: 'an S3 server',
      why,
      mend: `install Go (https://go.dev/dl), then: ${setup('s3')}; or set AWS_ENDPOINT_URL_S3`,
    });
  return { kind: 'folder' };
}

/**
 * The endpoint that the standard AWS configuration names, in the SDK's own order: environment, then the profile's `services` section, then
 * the profile. Credentials alone are no choice: nothing is to be written to a real account by accident.
 * @param {import('./choose.d.mts').World} world
 * @returns {string | undefined}
 */
export function s3Endpoint({ env, read }) {
  if (/^true$/i.test(env.AWS_IGNORE_CONFIGURED_ENDPOINT_URLS ?? '')) return undefined;
  const named = env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL;
  if (named) return named;
  const text = read(env.AWS_CONFIG_FILE || join(env.HOME || homedir(), '.aws', 'config'));
  if (text === undefined) return undefined;
  const sections = parseAwsConfig(text);
  const profile = env.AWS_PROFILE || 'default';
  const settings = sections[`profile ${profile}`] ?? sections[profile];
  if (!settings || settings.ignore_configured_endpoint_urls === 'true') return undefined;
  return sections[`services ${settings.services}`]?.['s3.endpoint_url'] ?? settings.endpoint_url;
}

/** Sections of an AWS config file; an indented setting is named "parent.child". */
function parseAwsConfig(text) {
  /** @type {Record<string, Record<string, string>>} */
  const sections = Object.create(null);
  let settings = Object.create(null);
  let parent = '';
  for (const line of text.split(/\r?\n/)) {
    const section = /^\s*\[\s*([^\]]+?)\s*\]/.exec(line);
    const setting = /^(\s*)([\w.-]+)\s*=\s*(.*?)\s*$/.exec(line);
    if (section) {
      settings = sections[section[1].replace(/\s+/g, ' ')] ??= Object.create(null);
    } else if (setting && !/^\s*[#;]/.test(line)) {
      const [, indent, name, value] = setting;
      if (!indent) parent = name;
      settings[indent ? `${parent}.${name}` : name] = value;
    }
  }
  return sections;
}

function chooseNode({ nodeVersion }, missing) {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number);
  const supported = major > 20 || (major === 20 && minor >= 19);
  if (!supported) {
    missing.push({
      what: 'Node.js 20.19 or later',
      why: `this is ${nodeVersion}`,
      mend: 'install Node.js 22 (https://nodejs.org)',
    });
  }
  return { version: nodeVersion, supported, compat: major >= 23 };
}
