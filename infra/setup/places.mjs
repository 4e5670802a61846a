import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NAPI_VERSION, TENSORFLOW_VERSION, VERSITYGW_VERSION, WHEELS } from './versions.mjs';

/** The repository's root. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
export const ADDON_PACKAGE = join('node_modules', '@tensorflow', 'tfjs-node-gpu');
/** Compiler flags of the addon; part of its cache key. */
export const ADDON_FLAGS = [
  '-O2',
  '-std=c++17',
  '-fPIC',
  '-shared',
  `-DNAPI_VERSION=${NAPI_VERSION}`,
  '-Wno-attributes',
];

/**
 * Where set-up keeps what it downloads and builds: $LILORA_CACHE, else $XDG_CACHE_HOME/lilora, else ~/.cache/lilora.
 * @param {NodeJS.ProcessEnv} env
 */
export function cacheRoot(env = process.env) {
  if (env.LILORA_CACHE) return resolve(env.LILORA_CACHE);
  const xdg = env.XDG_CACHE_HOME;
  // The XDG specification: a relative path there is to be ignored.
  return join(xdg && isAbsolute(xdg) ? xdg : join(env.HOME || homedir(), '.cache'), 'lilora');
}

/** @param {string[]} parts @returns a short digest that names a cache folder */
export function keyOf(...parts) {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16);
}

/** Cache folder of the Temporal launcher: a new one for every change of its sources or dependencies. */
export function temporalFolder(root = ROOT) {
  const source = join(root, 'infra', 'temporal-dev');
  const files = readdirSync(source).filter((name) => /^go\.(mod|sum)$|\.go$/.test(name) && !name.endsWith('_test.go'));
  return `temporal-dev-${keyOf(...files.sort().flatMap((name) => [name, readFileSync(join(source, name), 'utf8')]))}`;
}

export const versitygwFolder = () => `versitygw-${VERSITYGW_VERSION}`;

/** @param {'cpu'|'gpu'} variant @returns cache folder of the unpacked library */
export const tensorflowFolder = (variant) =>
  `tensorflow-${variant}-${TENSORFLOW_VERSION}-${keyOf(...WHEELS[variant].map((wheel) => wheel.sha256))}`;

/** @param {'cpu'|'gpu'} variant @returns cache folder of the compiled addon */
export const addonFolder = (variant) =>
  `addon-${variant}-${keyOf('tfjs-node-gpu 4.22.0', tensorflowFolder(variant), process.arch, ...ADDON_FLAGS)}`;

/**
 * The first executable of that name on PATH, or undefined.
 * @param {string} name @param {NodeJS.ProcessEnv} env @param {(path: string) => boolean} executable
 */
export function which(name, env, executable) {
  for (const folder of (env.PATH ?? '').split(delimiter)) {
    if (folder && executable(join(folder, name))) return join(folder, name);
  }
  return undefined;
}
