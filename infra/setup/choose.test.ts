import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { choices, s3Endpoint, type World } from './choose.mjs';
import { ADDON_PACKAGE, addonFolder, cacheRoot, ROOT, temporalFolder, versitygwFolder } from './places.mjs';

const CACHE = '/home/me/.cache/lilora';
const TEMPORAL = join(CACHE, temporalFolder(), 'temporal-dev');
const VERSITYGW = join(CACHE, versitygwFolder(), 'versitygw');
const LIB = join(ROOT, ADDON_PACKAGE, 'lib/napi-v8');
const TOOLS = ['/bin/go', '/bin/g++', '/bin/python3'];

/** A machine that has just these files (path to text; executables have none). */
function machine(paths: Record<string, string> | string[], changes: Partial<World> = {}): World {
  const files = Array.isArray(paths) ? Object.fromEntries(paths.map((path) => [path, ''])) : paths;
  const env = { PATH: '/bin:/usr/bin', HOME: '/home/me', ...changes.env };
  return {
    root: ROOT,
    platform: 'linux',
    arch: 'x64',
    nodeVersion: '20.19.0',
    exists: (path) => path in files,
    executable: (path) => path in files,
    read: (path) => files[path],
    ...changes,
    env,
  };
}

const addon = (stamp?: string) => ({
  [join(LIB, 'tfjs_binding.node')]: '',
  [join(ROOT, ADDON_PACKAGE, 'deps/lib')]: '',
  ...(stamp === undefined ? {} : { [join(LIB, 'lilora.json')]: stamp }),
});
const stamp = (variant: 'cpu' | 'gpu') => JSON.stringify({ variant, key: addonFolder(variant) });

describe('the choice of a Temporal server', () => {
  const everything = [TEMPORAL, '/bin/temporal', ...TOOLS];

  it('takes TEMPORAL_ADDRESS before all else', () => {
    const { temporal } = choices(machine(everything, { env: { TEMPORAL_ADDRESS: 'temporal.example:7233' } }));
    expect(temporal).toEqual({ kind: 'address', address: 'temporal.example:7233' });
  });

  it('takes the cached build before the temporal command', () => {
    expect(choices(machine(everything)).temporal).toEqual({ kind: 'cached', path: TEMPORAL });
    expect(choices(machine(['/bin/temporal'])).temporal).toEqual({ kind: 'cli', path: '/bin/temporal' });
  });

  it("falls back to the SDK's download, and to nothing where the SDK is not installed", () => {
    const sdk = join(ROOT, 'node_modules/@temporalio/testing');
    expect(choices(machine([sdk])).temporal).toEqual({ kind: 'download' });
    expect(choices(machine([])).temporal).toEqual({ kind: 'missing' });
  });

  it('says with one command how to get the better one', () => {
    const mends = (world: World) => choices(world).missing.map(({ mend }) => mend);
    expect(mends(machine(TOOLS))).toContain('node infra/setup/main.mjs --only temporal');
    expect(mends(machine([])).join()).toContain('https://go.dev/dl');
    expect(
      choices(
        machine({ ...Object.fromEntries(everything.map((p) => [p, ''])), [VERSITYGW]: '', ...addon(stamp('cpu')) }),
      ).missing,
    ).toEqual([]);
  });
});

describe('the choice of an object store', () => {
  it('takes the endpoint of the AWS configuration, then versitygw, then a folder', () => {
    const env = { AWS_ENDPOINT_URL: 'http://all:1', AWS_ENDPOINT_URL_S3: 'http://s3:2' };
    expect(choices(machine([VERSITYGW], { env })).s3).toEqual({ kind: 'endpoint', endpoint: 'http://s3:2' });
    expect(choices(machine([VERSITYGW])).s3).toEqual({ kind: 'versitygw', path: VERSITYGW });
    expect(choices(machine([])).s3).toEqual({ kind: 'folder' });
  });

  it('reads the profile and its services section', () => {
    const config = [
      '[default]',
      'endpoint_url = http://default',
      '# a comment = ignored',
      '[profile lab]',
      'region = eu-west-1',
      'services = lab-services',
      '[services lab-services]',
      's3 =',
      '  endpoint_url = http://lab-s3',
      'dynamodb =',
      '  endpoint_url = http://lab-dynamo',
    ].join('\n');
    const world = (env: World['env']) => machine({ '/home/me/.aws/config': config }, { env });
    expect(s3Endpoint(world({}))).toBe('http://default');
    expect(s3Endpoint(world({ AWS_PROFILE: 'lab' }))).toBe('http://lab-s3');
    expect(s3Endpoint(world({ AWS_PROFILE: 'other' }))).toBeUndefined();
    expect(s3Endpoint(world({ AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: 'true' }))).toBeUndefined();
  });

  it('does not take credentials alone for a choice', () => {
    const env = { AWS_ACCESS_KEY_ID: 'x', AWS_SECRET_ACCESS_KEY: 'y', AWS_REGION: 'eu-west-1' };
    expect(choices(machine([VERSITYGW], { env })).s3.kind).toBe('versitygw');
  });
});

describe('the choice of a tensor engine', () => {
  const kind = (world: World) => choices(world).tensors.kind;

  it('knows its own builds by their stamp, the stock one by having none', () => {
    expect(kind(machine(addon(stamp('cpu'))))).toBe('addon-cpu');
    expect(kind(machine(addon(stamp('gpu'))))).toBe('addon-gpu');
    expect(kind(machine(addon()))).toBe('stock');
    expect(kind(machine([]))).toBe('javascript');
  });

  it('does not trust a stamp of another build or a broken one', () => {
    expect(kind(machine(addon('{"variant":"cpu","key":"addon-cpu-old"}')))).toBe('javascript');
    expect(kind(machine(addon('{"var')))).toBe('javascript');
  });

  it('asks for the CUDA build when a driver is there and the addon is for the CPU', () => {
    const world = machine({ ...addon(stamp('cpu')), '/proc/driver/nvidia/version': '' });
    expect(choices(world).missing.map(({ what }) => what)).toContain('the CUDA build of TensorFlow');
  });

  it('names the tools that the build lacks', () => {
    const what = choices(machine(['/bin/python3'])).missing.map((missing) => missing.what);
    expect(what).toContain('a C++ compiler (g++)');
    expect(what).not.toContain('python3 with pip');
  });
});

describe('the cache folder', () => {
  it('is LILORA_CACHE, else under XDG_CACHE_HOME, else under the home', () => {
    expect(cacheRoot({ LILORA_CACHE: '/x', XDG_CACHE_HOME: '/y', HOME: '/h' })).toBe('/x');
    expect(cacheRoot({ XDG_CACHE_HOME: '/y', HOME: '/h' })).toBe('/y/lilora');
    expect(cacheRoot({ XDG_CACHE_HOME: 'relative', HOME: '/h' })).toBe('/h/.cache/lilora');
  });
});

describe('the choice of Node', () => {
  it.each([
    ['18.20.0', false, false],
    ['20.18.9', false, false],
    ['20.19.0', true, false],
    ['22.23.3', true, false],
    ['24.1.0', true, true],
  ])('%s: supported %s, compat %s', (nodeVersion, supported, compat) => {
    expect(choices(machine([], { nodeVersion })).node).toEqual({ version: nodeVersion, supported, compat });
  });
});
