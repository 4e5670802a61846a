import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MethodFacts } from '../cli/verbs/methods.ts';
import { ROOT } from '../workers/runtime.ts';

const run = promisify(execFile);

/** What need not be copied: it is large, or holds nothing that a method changes. */
const LINKED = ['node_modules', 'test/fixtures', 'examples', 'infra', 'docs'];
const LEFT_OUT = ['.git', '.lilora', 'coverage'];

/** docs/adding-a-method.md, followed to the letter in a copy of the sources. */
describe('the guide to a new method', () => {
  let copy: string;
  const blocks = [...readFileSync(join(ROOT, 'docs/adding-a-method.md'), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)];
  const [code, imported, entry] = blocks.map(([, text]) => text!);

  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), 'lilora-guide-'));
    const out = [...LINKED, ...LEFT_OUT].map((path) => join(ROOT, path));
    for (const name of readdirSync(ROOT)) {
      const from = join(ROOT, name);
      if (!out.includes(from))
        cpSync(from, join(copy, name), { recursive: true, filter: (path) => !out.includes(path) });
    }
    for (const path of LINKED) {
      mkdirSync(dirname(join(copy, path)), { recursive: true });
      symlinkSync(join(ROOT, path), join(copy, path));
    }
    mkdirSync(join(copy, 'learning/methods/frozen-a'));
    writeFileSync(join(copy, 'learning/methods/frozen-a/index.ts'), code!);
    const registry = join(copy, 'learning/methods/registry.ts');
    const before = readFileSync(registry, 'utf8');
    const after = before
      .replace(/^(import .*fmLora.*\n)/m, `$1${imported}`)
      .replace('  fmLora,\n', `  fmLora,\n${entry}`);
    expect(after.split('\n').length - before.split('\n').length, 'two lines more').toBe(2);
    writeFileSync(registry, after);
  });
  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  it('gives a method that the command knows', async () => {
    const { stdout } = await run(process.execPath, ['cli/lilora.mjs', 'methods', 'frozen-a', '--json'], { cwd: copy });
    expect(JSON.parse(stdout) as MethodFacts).toMatchObject({
      name: 'frozen-a',
      needsTask: true,
      shared: ['lora_A'],
      perTask: ['lora_B'],
      steps: ['safe', 'rounds', 'export'],
    });
  });

  it('gives a method that does what every method must', async () => {
    const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
    const test = ['learning/methods/every-method.test.ts', '-t', 'frozen-a', '--reporter', 'json'];
    const { stdout } = await run(process.execPath, [vitest, 'run', '--project', 'unit', ...test], { cwd: copy });
    const { testResults } = JSON.parse(stdout) as {
      testResults: { assertionResults: { ancestorTitles: string[]; status: string }[] }[];
    };
    const own = testResults.flatMap((file) =>
      file.assertionResults.filter(({ ancestorTitles }) => ancestorTitles.includes('frozen-a')),
    );
    expect(own.length).toBeGreaterThanOrEqual(8);
    expect(new Set(own.map(({ status }) => status))).toEqual(new Set(['passed']));
  });
});
