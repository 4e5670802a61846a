import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { DEFAULTS } from '../core/defaults.ts';
import { loadLaunchers } from './launchers.ts';

const load = (value: unknown) => loadLaunchers({ LILORA_LAUNCHERS: JSON.stringify(value) });
const runpod = { platform: 'runpod', endpoint: 'https://api.runpod.ai/v2/abc' };

it('has no launchers unless told', () => {
  expect(loadLaunchers({})).toEqual([]);
});

it('fills in the defaults', () => {
  expect(load([runpod])).toEqual([
    {
      ...runpod,
      queue: 'lilora-gpu',
      maxWorkers: DEFAULTS['launcher.maxWorkers'].value,
      idleExitSeconds: DEFAULTS['launcher.idleExitSeconds'].value,
      startSeconds: DEFAULTS['launcher.startSeconds'].value,
      pollSeconds: DEFAULTS['launcher.pollSeconds'].value,
    },
  ]);
});

it('reads a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lilora-launchers-'));
  const path = join(folder, 'launchers.json');
  writeFileSync(path, JSON.stringify([{ ...runpod, queue: 'big', maxWorkers: 8 }]));
  expect(loadLaunchers({ LILORA_LAUNCHERS: path })[0]).toMatchObject({ queue: 'big', maxWorkers: 8 });
  rmSync(folder, { recursive: true });
});

it.each([
  ['an unknown platform', [{ ...runpod, platform: 'abacus' }]],
  ['plain http elsewhere', [{ platform: 'http', endpoint: 'http://example.org/start' }]],
  ['credentials in the URL', [{ platform: 'http', endpoint: 'https://me:secret@example.org' }]],
  ['a key in the file', [{ ...runpod, apiKey: 'secret' }]],
  ['two launchers of one queue', [runpod, { platform: 'sagemaker', endpoint: 'lilora' }]],
  ['no workers at all', [{ ...runpod, maxWorkers: 0 }]],
])('refuses %s', (_, value) => {
  expect(() => load(value)).toThrowError(/LILORA_LAUNCHERS/);
});

it('refuses a file that is not there and says so', () => {
  expect(() => loadLaunchers({ LILORA_LAUNCHERS: '/nowhere/launchers.json' })).toThrowError(/no such file/);
});
