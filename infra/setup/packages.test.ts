import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { packagesInstalled } from './packages.mjs';
import { newEnough } from './servers.mjs';

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** A project whose lock and installed tree name these packages. */
function project(locked: Record<string, object>, installed?: Record<string, object>): string {
  const root = mkdtempSync(join(tmpdir(), 'lilora-packages-'));
  folders.push(root);
  mkdirSync(join(root, 'node_modules'));
  const write = (path: string, packages: object) => writeFileSync(join(root, path), JSON.stringify({ packages }));
  write('package-lock.json', { '': { name: 'x' }, ...locked });
  if (installed) write('node_modules/.package-lock.json', installed);
  return root;
}

const a = { 'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' } };
const b = { 'node_modules/b': { version: '2.0.0', integrity: 'sha512-b' } };

it.each([
  ['equal', project({ ...a, ...b }, { ...a, ...b }), true],
  ['never installed', project(a), false],
  ['one missing', project({ ...a, ...b }, a), false],
  ['one too many', project(a, { ...a, ...b }), false],
  ['another version', project(a, { 'node_modules/a': { version: '1.0.1', integrity: 'sha512-a' } }), false],
  ['another content', project(a, { 'node_modules/a': { version: '1.0.0', integrity: 'sha512-x' } }), false],
  ['an optional one left out', project({ ...a, 'node_modules/b': { version: '2.0.0', optional: true } }, a), true],
])('installed packages: %s', (_, root, same) => {
  expect(packagesInstalled(root)).toBe(same);
});

it('development packages may be missing in production only', () => {
  const root = project({ ...a, 'node_modules/b': { version: '2.0.0', dev: true } }, a);
  expect(packagesInstalled(root, true)).toBe(true);
  expect(packagesInstalled(root, false)).toBe(false);
});

it.each([
  ['go1.26.8', true],
  ['go1.27', true],
  ['go2.0.1', true],
  ['go1.26.7', false],
  ['go1.26', false],
  ['go1.9.99', false],
  ['devel +abc', false],
])('%s builds the server by itself: %s', (version, enough) => {
  expect(newEnough(version)).toBe(enough);
});
