import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../workers/runtime.ts';
import { plot } from './plot.ts';
import type { Result } from './results.ts';
import { RUNS } from './runs.ts';
import { growthTable, linesOf, reached, settingOf, sweepTable, tables } from './tables.ts';

interface File {
  readonly tasks: readonly string[];
  readonly train: number;
  readonly test: number;
  readonly results: readonly Result[];
}

function read(name: string): File | null {
  const path = join(ROOT, `bench/results/${name}.json`);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as File) : null;
}

const of = (results: readonly Result[], key: 'run' | 'seed' | 'order' | 'instructions') =>
  [...new Set(results.map((result) => result[key]))].join(',');
const versions = (results: readonly Result[]) => {
  const code = [...new Set(results.flatMap((result) => result.code))];
  return `code version${code.length > 1 ? 's' : ''} ${code.join(', ')}`;
};

/**
 * Files of the documentation that hold results of bench:stream, by path from the root, as they follow from
 * `bench/results`: tables between `<!-- name -->` and `<!-- /name -->` in docs/methods.md, what each method reached in its
 * card, and the plot.
 */
export async function pages(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const put = (file: string, name: string, text: string) => {
    const section = new RegExp(`(<!-- ${name} -->)[\\s\\S]*?(<!-- /${name} -->)`);
    const written = files.get(file) ?? readFileSync(join(ROOT, file), 'utf8');
    if (!section.test(written)) throw new Error(`${file} has no place for ${name}.`);
    files.set(
      file,
      written.replace(section, (_, open: string, close: string) => `${open}${text}${close}`),
    );
  };
  const page = (name: string, parts: readonly string[]) => {
    if (parts.length > 0) put('docs/methods.md', name, `\n${parts.join('\n\n')}\n`);
  };

  const compared = read('stream');
  if (compared) {
    const { results, train, test } = compared;
    const lines = await linesOf(results, RUNS);
    const first = settingOf({ instructions: 'single', order: 'given' });
    page('measured', [
      `    npm run bench:stream -- --methods all --seeds ${of(results, 'seed')} --orders ${of(results, 'order')} --instructions ${of(results, 'instructions')}`,
      `Six tasks, ${train} training and ${test} test samples each, two gpu workers of one thread; ${versions(results)}. Mean ± standard deviation over streams. Learned: mean score just after learning.`,
      tables(lines),
      '![AP against the parameters that a method keeps per task](images/methods.svg)',
    ]);
    const shown = lines.filter(({ setting, run }) => setting === first && !RUNS[run]!.gated);
    files.set('docs/images/methods.svg', plot(shown));
    for (const run of new Set(results.map(({ run }) => run))) {
      const { method } = RUNS[run]!;
      const card = `learning/methods/${method}/README.md`;
      const name = run === method ? 'reached' : `reached ${run}`;
      if (existsSync(join(ROOT, card)) && readFileSync(join(ROOT, card), 'utf8').includes(`<!-- ${name} -->`))
        put(card, name, reached(results.filter((result) => result.run === run && settingOf(result) === first)));
    }
  }

  page(
    'validation',
    ['lilora', 'metrics', 'others'].flatMap((name) => {
      const file = read(`validation-${name}`);
      if (!file) return [];
      const { results } = file;
      const command = `    npm run bench:stream -- --sweep ${name} --data 1 --seeds ${of(results, 'seed')} --orders ${of(results, 'order')}`;
      return [command, sweepTable(results)];
    }),
  );
  page(
    'long',
    [20, 50].flatMap((count) => {
      const file = read(`long-${count}`);
      if (!file) return [];
      const { results, train, test } = file;
      const command = `    npm run bench:stream -- --methods ${of(results, 'run')} --tasks variations:${count} --train ${train} --test ${test} --seeds ${of(results, 'seed')}`;
      return [command, growthTable(results)];
    }),
  );
  return files;
}
