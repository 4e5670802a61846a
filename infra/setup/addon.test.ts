import { mkdirSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { choices } from './choose.mjs';
import { ADDON_PACKAGE, ROOT } from './places.mjs';
import { installedAddon, linkAddon, smokeTest } from './tensorflow.mjs';

describe('the installed addon', () => {
  it('computes in a process of its own, on the TensorFlow that it was built for', async () => {
    const { tensors } = choices();
    if (tensors.kind === 'javascript') {
      await expect(smokeTest(ROOT)).rejects.toThrow(); // nothing to test, and the choice says so
      return;
    }
    const { version } = await smokeTest(ROOT);
    expect(version).toBe(tensors.kind === 'stock' ? '2.9.1' : '2.21.0');
  }, 60_000);
});

describe('linkAddon', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'lilora-addon-'));
    mkdirSync(join(root, ADDON_PACKAGE), { recursive: true });
    mkdirSync(join(root, 'deps', 'lib'), { recursive: true });
    writeFileSync(join(root, 'built.node'), 'binary');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it('puts the build into the package, over whatever was there', () => {
    expect(installedAddon(root)).toEqual({ kind: 'none' });
    mkdirSync(join(root, ADDON_PACKAGE, 'deps', 'lib'), { recursive: true });
    for (let i = 0; i < 2; i++) {
      linkAddon(root, 'cpu', join(root, 'deps'), join(root, 'built.node'));
      expect(installedAddon(root)).toEqual({ kind: 'addon', variant: 'cpu' });
      expect(readlinkSync(join(root, ADDON_PACKAGE, 'deps'))).toBe(join(root, 'deps'));
    }
  });

  it('does not count when the library in the cache is gone', () => {
    linkAddon(root, 'cpu', join(root, 'deps'), join(root, 'built.node'));
    rmSync(join(root, 'deps'), { recursive: true });
    expect(installedAddon(root)).toEqual({ kind: 'none' });
  });
});
