/**
 * Puts results of bench:stream into docs/methods.md and docs/images/methods.svg: `npx tsx bench/stream/publish.ts`. It reads
 * `bench/results/stream.json` and, where they are there, `validation-lilora.json`, `validation-metrics.json`,
 * `validation-others.json`, `long-20.json` and `long-50.json` beside it.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../workers/runtime.ts';
import { plot } from './plot.ts';
import type { Result } from './results.ts';
import { RUNS } from './runs.ts';
import { growthTable, linesOf, settingOf, sweepTable, tables } from './tables.ts';

interface File {
  readonly tasks: readonly string[];
  readonly train: number;
  readonly test: number;
  readonly results: readonly Result[];
}

const page = join(ROOT, 'docs/methods.md');

function read(name: string): File | null {
  const path = join(ROOT, `bench/results/${name}.json`);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as File) : null;
}

/** Between `<!-- name -->` and `<!-- /name -->`. */
function write(name: string, text: string): void {
  const section = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`);
  const written = readFileSync(page, 'utf8');
  if (!section.test(written)) throw new Error(`docs/methods.md has no place for ${name}.`);
  writeFileSync(
    page,
    written.replace(section, (_, open: string, close: string) => `${open}${text}\n${close}`),
  );
}

const of = (results: readonly Result[], key: 'seed' | 'order' | 'instructions') =>
  [...new Set(results.map((result) => result[key]))].join(',');
const versions = (results: readonly Result[]) => {
  const code = [...new Set(results.flatMap((result) => result.code))];
  return `code version${code.length > 1 ? 's' : ''} ${code.join(', ')}`;
};

const compared = read('stream');
if (compared) {
  const { results, train, test } = compared;
  const lines = await linesOf(results, RUNS);
  const first = settingOf({ instructions: 'single', order: 'given' });
  write(
    'measured',
    `    npm run bench:stream -- --methods all --seeds ${of(results, 'seed')} --orders ${of(results, 'order')} --instructions ${of(results, 'instructions')}

Six tasks, ${train} training and ${test} test samples each, two gpu workers of one thread; ${versions(results)}. Mean ± standard deviation over streams. Learned: mean score just after learning.

${tables(lines)}

![AP against the parameters that a method keeps per task](images/methods.svg)`,
  );
  writeFileSync(
    join(ROOT, 'docs/images/methods.svg'),
    plot(lines.filter(({ setting, run }) => setting === first && !RUNS[run]!.gated)),
  );
}

const sweeps = ['lilora', 'metrics', 'others'].flatMap((name) => {
  const file = read(`validation-${name}`);
  if (!file) return [];
  const command = `    npm run bench:stream -- --sweep ${name} --data 1 --seeds ${of(file.results, 'seed')} --orders ${of(file.results, 'order')}`;
  return [`${command}\n\n${sweepTable(file.results)}`];
});
if (sweeps.length > 0) write('validation', sweeps.join('\n\n'));

const long = [20, 50].flatMap((count) => {
  const file = read(`long-${count}`);
  if (!file) return [];
  const { results, train, test } = file;
  const command = `    npm run bench:stream -- --methods ${[...new Set(results.map(({ run }) => run))].join(',')} --tasks variations:${count} --train ${train} --test ${test} --seeds ${of(results, 'seed')}`;
  return [`${command}\n\n${growthTable(results)}`];
});
if (long.length > 0) write('long', long.join('\n\n'));
