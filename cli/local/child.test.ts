import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { ROOT } from '../place.ts';
import { Child } from './child.ts';

const folder = mkdtempSync(join(tmpdir(), 'lilora-child-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const TICKER = 'console.log("ready", process.pid); setInterval(() => {}, 1000)';
const start = (name: string, code: string, report: (line: string) => void = () => {}) =>
  new Child({
    name,
    command: process.execPath,
    args: ['-e', code],
    env: process.env,
    logFile: join(folder, `${name}.log`),
    report,
  });
const pids = (name: string) =>
  [...readFileSync(join(folder, `${name}.log`), 'utf8').matchAll(/ready (\d+)/g)].map((match) => Number(match[1]));
const alive = (pid: number) => {
  try {
    // A zombie is no process any more.
    return !/^Z/.test(execFileSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }));
  } catch {
    return false;
  }
};
const until = async (holds: () => boolean) => {
  const end = Date.now() + 15_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error('it did not happen within 15 s');
    await new Promise((wake) => setTimeout(wake, 50));
  }
};

it('keeps a log, starts again what was killed, and ends it politely', async () => {
  const lines: string[] = [];
  const child = start(
    'ticker',
    `process.on("SIGTERM", () => { console.log("bye"); process.exit() }); ${TICKER}`,
    (line) => lines.push(line),
  );
  await child.logged('ready', 10);
  process.kill(pids('ticker')[0]!, 'SIGKILL');
  await until(() => pids('ticker').length === 2);
  expect(lines).toEqual([expect.stringMatching(/^ticker ended .* starts again in 1 s\. Its log: .*ticker\.log$/)]);
  await child.stop();
  expect(alive(pids('ticker')[1]!)).toBe(false);
  expect(readFileSync(join(folder, 'ticker.log'), 'utf8')).toMatch(/bye\n$/);
});

it('says what a child that cannot start wrote last', async () => {
  const child = start('broken', 'console.error("no such port"); process.exit(3)');
  await expect(child.logged('ready', 10)).rejects.toThrow(/broken ended while it started.*\n {2}no such port/s);
  await child.stop();
});

it('ends when its parent is killed', async () => {
  const module = pathToFileURL(join(ROOT, 'cli/local/child.ts')).href;
  const options = {
    name: 'orphan',
    command: process.execPath,
    args: ['-e', TICKER],
    logFile: join(folder, 'orphan.log'),
  };
  const code = `import { Child } from ${JSON.stringify(module)};
    new Child({ ...${JSON.stringify(options)}, env: process.env, report: console.error }); setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
    cwd: ROOT,
    stdio: 'ignore',
  });
  await until(() => {
    try {
      return pids('orphan').length > 0;
    } catch {
      return false;
    }
  });
  parent.kill('SIGKILL');
  await until(() => !alive(pids('orphan')[0]!));
});
