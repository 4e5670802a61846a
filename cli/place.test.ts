import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { localCredentials } from './local/credentials.ts';
import { birthOf, findRunning, runningFile, verbEnvironment } from './place.ts';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'lilora-home-'));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const running = (pid: number, birth = birthOf(pid)) =>
  writeFileSync(
    runningFile(home),
    JSON.stringify({ pid, birth, folder: home, ui: null, env: { TEMPORAL_ADDRESS: 'here:1', LILORA_STORE: 's3://x' } }),
  );

describe('verbEnvironment', () => {
  it('finds what `lilora dev` runs here', () => {
    running(process.pid);
    expect(verbEnvironment({ LILORA_HOME: home, OTHER: 'a' })).toMatchObject({
      TEMPORAL_ADDRESS: 'here:1',
      OTHER: 'a',
    });
  });

  it('leaves what the person has set', () => {
    running(process.pid);
    const env = { LILORA_HOME: home, LILORA_STORE: 's3://mine' };
    expect(verbEnvironment(env)).toEqual(env);
  });

  it('does not believe a file whose process is gone or another one now, or a broken one', () => {
    running(2 ** 22 + 1);
    expect(findRunning(home)).toBeNull();
    running(process.pid, '1');
    expect(findRunning(home)).toBeNull();
    writeFileSync(runningFile(home), '{');
    expect(findRunning(home)).toBeNull();
  });
});

describe('localCredentials', () => {
  it('are made once, at random, for their owner only', () => {
    const made = localCredentials(home);
    expect(localCredentials(home)).toEqual(made);
    expect(made.secret.length).toBeGreaterThan(40);
    expect(localCredentials(join(home, 'other')).secret).not.toBe(made.secret);
    expect(statSync(join(home, 's3-credentials.json')).mode & 0o777).toBe(0o600);
  });
});
