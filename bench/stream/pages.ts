import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../workers/runtime.ts';
import { plot } from './plot.ts';
import type { Result, Results } from './results.ts';
import { RUNS } from './runs.ts';
import { growthTable, linesOf, reached, settingOf, sweepTable, tables } from './tables.ts';

function read(name: string): Results | null {
  const path = join(ROOT, `bench/results/${name}.json`);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Results) : null;
}

const those = (results: readonly Result[], key: 'run' | 'seed' | 'order' | 'instructions') =>
  [...new Set(results.map((result) => result[key]))].join(',');
/** A code version stands for itself where it was no commit's. */
const commitsOf = (results: readonly Result[], { commits }: Results) => {
  const all = [...new Set(results.flatMap(({ code }) => code))].map((version) => commits[version] ?? version);
  return `Commit${all.length > 1 ? 's' : ''} ${all.join(', ')}.`;
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
    const origin = (setting: string) => {
      const these = results.filter((result) => settingOf(result) === setting);
      const settings = `--orders ${those(these, 'order')} --instructions ${those(these, 'instructions')}`;
      const command = `    npm run bench:stream -- --methods all --seeds ${those(these, 'seed')} ${settings}`;
      return `${command}\n\n${commitsOf(these, compared)}`;
    };
    page('measured', [
      `Six tasks, ${train} training and ${test} test samples each, two gpu workers of one thread. Mean ± standard deviation over streams. Learned: mean score just after learning.`,
      tables(lines, origin),
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
      const command = `    npm run bench:stream -- --sweep ${name} --data 1 --seeds ${those(results, 'seed')} --orders ${those(results, 'order')}`;
      return [command, commitsOf(results, file), sweepTable(results)];
    }),
  );
  page(
    'long',
    [20, 50].flatMap((count) => {
      const file = read(`long-${count}`);
      if (!file) return [];
      const { results, train, test } = file;
      const command = `    npm run bench:stream -- --methods ${those(results, 'run')} --tasks variations:${count} --train ${train} --test ${test} --seeds ${those(results, 'seed')}`;
      return [command, commitsOf(results, file), growthTable(results)];
    }),
  );
  return files;
}
