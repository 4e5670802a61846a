import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { place } from './cache.mjs';
import { command } from './command.mjs';
import { ADDON_FLAGS, ADDON_PACKAGE, addonFolder, tensorflowFolder } from './places.mjs';
import { NAPI_VERSION, WHEEL_PLATFORMS, WHEEL_PYTHON, WHEELS } from './versions.mjs';

/** Where the package looks for its addon, inside itself. */
const BINDING = join('lib', `napi-v${NAPI_VERSION}`, 'tfjs_binding.node');
/** Says which build of ours is installed there; the stock install has none. */
export const STAMP = join('lib', `napi-v${NAPI_VERSION}`, 'lilora.json');

/** What is taken out of the wheels: the libraries, and the C API's headers. */
const UNPACK = `
import os, re, sys, zipfile
wanted = re.compile(r'''tensorflow/(libtensorflow_(cc|framework)\\.so\\.2$|include/(tensorflow/c/|(tensorflow/core|tsl)/platform/ctstring|xla/tsl/c/))
  |nvidia/.*\\.so|nvidia/cuda_nvcc/''', re.X)
target = sys.argv[1]
for path in sys.argv[2:]:
    with zipfile.ZipFile(path) as wheel:
        for entry in wheel.infolist():
            if wanted.match(entry.filename) and '..' not in entry.filename.split('/'):
                path = wheel.extract(entry, target)
                if entry.external_attr >> 16 & 0o100:
                    os.chmod(path, 0o755)
`;

/**
 * Downloads TensorFlow's wheels with pip, checks their SHA-256 and unpacks the library into the cache.
 * @param {string} cache @param {'cpu'|'gpu'} variant
 */
export async function fetchTensorflow(cache, variant) {
  const folder = join(cache, tensorflowFolder(variant));
  await place(folder, async (draft) => {
    const wheels = join(draft, 'wheels');
    mkdirSync(wheels);
    const pinned = WHEELS[variant].map((wheel) => `${wheel.name}==${wheel.version} --hash=sha256:${wheel.sha256}\n`);
    writeFileSync(join(draft, 'wheels.txt'), pinned.join(''));
    await command('python3', [
      ...[
        '-m',
        'pip',
        'download',
        '--quiet',
        '--disable-pip-version-check',
        '--no-cache-dir',
        '--no-deps',
        '--require-hashes',
      ],
      ...['--only-binary=:all:', '--implementation', 'cp', '--python-version', WHEEL_PYTHON],
      ...WHEEL_PLATFORMS.flatMap((platform) => ['--platform', platform]),
      ...['-d', wheels, '-r', join(draft, 'wheels.txt')],
    ]);
    const files = readdirSync(wheels).map((name) => join(wheels, name));
    const unpacked = join(draft, 'unpacked');
    await command('python3', ['-c', UNPACK, unpacked, ...files]);
    // TensorFlow opens CUDA along its RUNPATH $ORIGIN/../nvidia/<part>/lib: deps/lib and deps/nvidia must be neighbours.
    mkdirSync(join(draft, 'deps'));
    renameSync(join(unpacked, 'tensorflow'), join(draft, 'deps', 'lib'));
    if (variant === 'gpu') renameSync(join(unpacked, 'nvidia'), join(draft, 'deps', 'nvidia'));
    rmSync(unpacked, { recursive: true });
    rmSync(wheels, { recursive: true });
  });
  return join(folder, 'deps');
}

/**
 * Compiles the addon out of the package's own C++ sources against that library, into the cache.
 * @param {string} root @param {string} cache @param {'cpu'|'gpu'} variant @param {string} deps
 */
export async function compileAddon(root, cache, variant, deps) {
  const sources = join(root, ADDON_PACKAGE, 'binding');
  const folder = join(cache, addonFolder(variant));
  await place(folder, async (draft) => {
    await command(process.env.CXX || 'g++', [
      ...ADDON_FLAGS,
      ...[
        join(root, 'node_modules', 'node-api-headers', 'include'),
        join(deps, 'lib', 'include'),
        join(root, ADDON_PACKAGE),
      ].map((include) => `-I${include}`),
      join(sources, 'tfjs_backend.cc'),
      join(sources, 'tfjs_binding.cc'),
      ...['-o', join(draft, basename(BINDING))],
      // No --no-undefined: the napi_* symbols are in the node executable.
      ...[`-L${join(deps, 'lib')}`, '-l:libtensorflow_cc.so.2', '-l:libtensorflow_framework.so.2'],
      '-Wl,-rpath,$ORIGIN/../../deps/lib',
    ]);
  });
  return join(folder, basename(BINDING));
}

/**
 * Puts the cached build into the installed package. Nothing is ever half there: the stamp is written last.
 * @param {string} root @param {'cpu'|'gpu'} variant @param {string} deps @param {string} binding
 */
export function linkAddon(root, variant, deps, binding) {
  const inside = join(root, ADDON_PACKAGE);
  const mine = `.new-${process.pid}`;
  mkdirSync(join(inside, 'lib', `napi-v${NAPI_VERSION}`), { recursive: true });
  rmSync(join(inside, STAMP), { force: true });
  rmSync(join(inside, 'deps'), { recursive: true, force: true });
  symlinkSync(deps, join(inside, 'deps'));
  copyFileSync(binding, join(inside, BINDING) + mine);
  renameSync(join(inside, BINDING) + mine, join(inside, BINDING));
  writeFileSync(join(inside, STAMP), `${JSON.stringify({ variant, key: addonFolder(variant) })}\n`);
}

/**
 * Which build the package holds: ours by its stamp, the stock one, or none.
 * @param {string} root @param {{exists: (path: string) => boolean, read: (path: string) => string | undefined}} files
 * @returns {{kind: 'addon', variant: 'cpu'|'gpu'} | {kind: 'stock'} | {kind: 'none'}}
 */
export function installedAddon(root, files = realFiles) {
  const inside = join(root, ADDON_PACKAGE);
  if (!files.exists(join(inside, BINDING)) || !files.exists(join(inside, 'deps', 'lib'))) return { kind: 'none' };
  const stamp = files.read(join(inside, STAMP));
  if (stamp === undefined) return { kind: 'stock' };
  try {
    const { variant, key } = JSON.parse(stamp);
    if ((variant === 'cpu' || variant === 'gpu') && key === addonFolder(variant)) return { kind: 'addon', variant };
  } catch {
    // A broken stamp is no stamp.
  }
  return { kind: 'none' };
}

const realFiles = {
  exists: existsSync,
  read: (/** @type {string} */ path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  },
};

/**
 * Loads the addon in a process of its own and computes with it: a broken library must not take set-up down.
 * @param {string} root
 * @param {string} node the node executable to try it with
 * @returns {Promise<{version: string, gpu: boolean}>}
 */
export async function smokeTest(root, node = process.execPath) {
  const out = await command(node, [join(root, 'infra', 'setup', 'smoke.cjs')], {
    cwd: root,
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '3' },
  });
  return JSON.parse(out.trim().split('\n').at(-1) ?? '');
}

/** @param {string} root @returns the cache folder that the package's libraries come from, if it is a link of ours */
export function linkedLibrary(root) {
  try {
    return readlinkSync(join(root, ADDON_PACKAGE, 'deps'));
  } catch {
    return undefined;
  }
}
