import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { alive, lock, place, sweep } from './cache.mjs';
import { forgetFailure, recentFailure, rememberFailure } from './failures.mjs';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-cache-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A process of its own that runs a few lines with `place` and `lock` at hand; it says "ready" when the lines do. */
function other(lines: string) {
  const module = JSON.stringify(new URL('./cache.mjs', import.meta.url).href);
  const code = `import { lock, place } from ${module}; const say = (t) => process.stdout.write(t + '\\n'); ${lines}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  return { child, ready: once(child.stdout, 'data'), ended: once(child, 'exit') };
}

describe('place', () => {
  it('makes a folder once', async () => {
    const target = join(folder, 'part-1');
    const make = async (draft: string) => writeFileSync(join(draft, 'built'), 'first');
    expect(await place(target, make)).toBe(true);
    expect(await place(target, async () => expect.unreachable())).toBe(false);
    expect(readFileSync(join(target, 'built'), 'utf8')).toBe('first');
  });

  it('leaves nothing when the build fails, and the next one succeeds', async () => {
    const target = join(folder, 'part-1');
    const failing = place(target, async (draft) => {
      writeFileSync(join(draft, 'half'), '');
      throw new Error('no network');
    });
    await expect(failing).rejects.toThrow('no network');
    expect(readdirSync(folder)).toEqual([]);
    expect(await place(target, async () => {})).toBe(true);
  });

  it('clears what a killed build left behind and builds anew', async () => {
    const target = join(folder, 'part-1');
    const killed = other(`await place(${JSON.stringify(target)}, async (draft) => {
      (await import('node:fs')).writeFileSync(draft + '/half', '');
      say('ready'); await new Promise((resolve) => setTimeout(resolve, 60000)); });`);
    await killed.ready;
    killed.child.kill('SIGKILL');
    await killed.ended;
    expect(existsSync(target)).toBe(false);
    expect(readdirSync(folder)).toHaveLength(1);
    await place(target, async (draft) => writeFileSync(join(draft, 'whole'), ''));
    expect(readdirSync(folder)).toEqual(['part-1']);
    expect(readdirSync(target)).toEqual(['whole']);
  });
});

describe('sweep', () => {
  it('removes drafts of processes that are gone, and nothing else', async () => {
    const { child, ended } = other('');
    await ended;
    for (const name of ['part-1', `part-2.draft-${child.pid}`, `part-3.draft-${process.pid}`])
      mkdirSync(join(folder, name));
    sweep(folder);
    expect(readdirSync(folder).sort()).toEqual(['part-1', `part-3.draft-${process.pid}`]);
  });
});

describe('lock', () => {
  it('makes a second process wait, and says for whom', async () => {
    const path = join(folder, 'setup.lock');
    const first = other(`const release = await lock(${JSON.stringify(path)}); say('ready');
      setTimeout(() => { release(); }, 600);`);
    await first.ready;
    const waited: number[] = [];
    const release = await lock(path, { onWait: (pid) => waited.push(pid), pollMs: 20 });
    expect(waited).toEqual([first.child.pid]);
    release();
    expect(readdirSync(folder)).toEqual([]);
    await first.ended;
  });

  it("takes over a dead process's lock at once", async () => {
    const path = join(folder, 'setup.lock');
    const first = other(`await lock(${JSON.stringify(path)}); say('ready'); setTimeout(() => {}, 60000);`);
    await first.ready;
    first.child.kill('SIGKILL');
    await first.ended;
    expect(existsSync(path)).toBe(true);
    expect(alive(first.child.pid!)).toBe(false);
    const release = await lock(path, { onWait: () => expect.unreachable() });
    expect(Number(readFileSync(path, 'utf8'))).toBe(process.pid);
    release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('lets one process in at a time', async () => {
    const path = join(folder, 'setup.lock');
    const inside = JSON.stringify(join(folder, 'inside'));
    const lines = `import { mkdirSync, rmdirSync } from 'node:fs';
      for (let i = 0; i < 5; i++) { const release = await lock(${JSON.stringify(path)}, { pollMs: 2 });
        mkdirSync(${inside}); await new Promise((resolve) => setTimeout(resolve, 5)); rmdirSync(${inside}); release(); }
      say('ready');`;
    const codes = await Promise.all(
      [other(lines), other(lines), other(lines)].map(async ({ ended }) => (await ended)[0]),
    );
    expect(codes).toEqual([0, 0, 0]);
  }, 20_000);
});

describe('a failed build', () => {
  it('is remembered for an hour and can be forgotten', () => {
    expect(recentFailure(folder, 'part-1')).toBeUndefined();
    rememberFailure(folder, 'part-1', 'no network');
    expect(recentFailure(folder, 'part-1')).toBe('no network');
    expect(recentFailure(folder, 'part-1', Date.now() + 61 * 60_000)).toBeUndefined();
    forgetFailure(folder, 'part-1');
    expect(recentFailure(folder, 'part-1')).toBeUndefined();
  });
});
