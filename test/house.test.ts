import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../workers/runtime.ts';

/** What crosses a process: names and shapes alone. */
const CONTRACT = [
  'workflows/contract.ts',
  'workflows/launcher-contract.ts',
  'workflows/definition-contract.ts',
  'workflows/routing-contract.ts',
  'workflows/schedule-contract.ts',
];
/** Which top folders a folder may import from; an entry with `/` is one folder or file. Folders not named here are free. */
const ARROWS: Record<string, readonly string[]> = {
  core: [],
  learning: ['core'],
  datasets: ['core'],
  store: ['core'],
  report: ['core', 'learning/evaluation'],
  workflows: ['core/errors.ts', 'core/cost.ts'],
  activities: ['core', 'learning', 'datasets', 'store', 'report', ...CONTRACT],
  triggers: ['core', 'workflows/contract.ts'],
  workers: ['core', 'learning', 'datasets', 'store', 'report', 'activities', 'triggers', ...CONTRACT],
  cli: [
    'core',
    'learning',
    'datasets',
    'store',
    'report',
    'activities',
    'triggers',
    'workers',
    'examples',
    'infra/setup',
    ...CONTRACT,
  ],
};
/** Types are erased: they may also come from here. */
const TYPE_ARROWS: Record<string, readonly string[]> = { workflows: ['activities'] };

const IMPORT =
  /^\s*(?:import|export)\s+(type\s)?[^'"`;]*?from\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]/gm;

// Every tracked file and every new one that is not ignored.
const files = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts', '*.mjs', '*.cjs'],
  {
    cwd: ROOT,
    encoding: 'utf8',
  },
)
  .split('\n')
  .filter((file) => file !== '' && !file.startsWith('test/fixtures/'))
  .flatMap((file) => {
    try {
      return [{ file, text: readFileSync(join(ROOT, file), 'utf8') }];
    } catch {
      return []; // deleted, not yet committed
    }
  });
const sources = files.filter(({ file }) => !/\.test\.ts$/.test(file) && !file.startsWith('test/'));

const importsOf = (file: string, text: string) =>
  [...text.matchAll(IMPORT)]
    .map((match) => ({ type: match[1] !== undefined, target: match[2] ?? match[3] ?? match[4]! }))
    .filter(({ target }) => target.startsWith('.'))
    .map(({ type, target }) => ({ type, target: posix.join(posix.dirname(file), target) }));

describe('the house', () => {
  it('has imports that point down only', () => {
    const wrong = sources.flatMap(({ file, text }) => {
      const folder = file.split('/')[0]!;
      const allowed = ARROWS[folder];
      if (!allowed) return [];
      return importsOf(file, text)
        .filter(({ type, target }) => {
          const reach = [folder, ...allowed, ...(type ? (TYPE_ARROWS[folder] ?? []) : [])];
          return !reach.some((place) => target === place || target.startsWith(`${place}/`));
        })
        .map(({ target }) => `${file} imports ${target}`);
    });
    expect(wrong).toEqual([]);
  });

  it('keeps its science free of Temporal and S3', () => {
    const wrong = sources
      .filter(
        ({ file, text }) =>
          /^(core|learning|datasets|report)\//.test(file) && /from '@(temporalio|aws-sdk)\//.test(text),
      )
      .map(({ file }) => file);
    expect(wrong).toEqual([]);
  });

  it('has files that can be read in one sitting', () => {
    const long = files
      .map(({ file, text }) => ({ file, lines: text.split('\n').length - 1 }))
      .filter(({ lines }) => lines > 400);
    expect(long).toEqual([]);
  });

  it('lies at most two levels below a top folder', () => {
    expect(sources.map(({ file }) => file).filter((file) => file.split('/').length > 4)).toEqual([]);
  });

  it('skips no test', () => {
    const skipped = files
      .filter(({ file }) => file.endsWith('.test.ts'))
      .filter(({ text }) => /\b(?:it|test|describe)\s*\.\s*(?:skip|only|todo|skipIf|runIf|fails)\b/.test(text))
      .map(({ file }) => file);
    expect(skipped).toEqual([]);
  });

  it('has no wildcard re-exports and no utils', () => {
    expect(sources.filter(({ text }) => /^\s*export \*/m.test(text)).map(({ file }) => file)).toEqual([]);
    expect(files.map(({ file }) => file).filter((file) => /\butils?\b|\bhelpers?\b/.test(file))).toEqual([]);
  });

  it('names a retry policy in every proxyActivities call', () => {
    const calls = sources.flatMap(({ file, text }) =>
      [...text.matchAll(/proxyActivities<[^(]*>\(\{([\s\S]*?)\}\)/g)].map((match) => ({ file, options: match[1]! })),
    );
    expect(calls.length).toBeGreaterThan(0);
    expect(calls.filter(({ options }) => !/^\s*retry: RETRY\.\w+,$/m.test(options))).toEqual([]);
  });
});
