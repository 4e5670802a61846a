/**
 * Puts results of bench:stream into docs/methods.md and docs/images/methods.svg:
 * `npx tsx bench/stream/publish.ts [--from bench/results/stream.json]`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../../workers/runtime.ts';
import { plot } from './plot.ts';
import type { Result } from './results.ts';
import { RUNS } from './runs.ts';
import { linesOf, tables } from './tables.ts';

const { values } = parseArgs({
  options: { from: { type: 'string', default: join(ROOT, 'bench/results/stream.json') } },
});
const { results, train, test } = JSON.parse(readFileSync(values.from, 'utf8')) as {
  results: Result[];
  train: number;
  test: number;
};
const lines = await linesOf(results, RUNS);
const of = (key: 'seed' | 'order') => [...new Set(results.map((result) => result[key]))].join(',');
const code = [...new Set(results.flatMap((result) => result.code))];
const text = `    npm run bench:stream -- --methods all --seeds ${of('seed')} --orders ${of('order')}

Six tasks, ${train} training and ${test} test samples each, two gpu workers of one thread; code version${code.length > 1 ? 's' : ''} ${code.join(', ')}. Mean ± standard deviation over streams. Learned: mean score just after learning.

${tables(lines)}

![AP against the parameters that a method keeps per task](images/methods.svg)`;
writeFileSync(
  join(ROOT, 'docs/images/methods.svg'),
  plot(lines.filter(({ instructions }) => instructions === lines[0]!.instructions)),
);
const page = join(ROOT, 'docs/methods.md');
const written = readFileSync(page, 'utf8').replace(
  /(<!-- measured -->\n)[\s\S]*?(<!-- \/measured -->)/,
  (_, open: string, close: string) => `${open}${text}\n${close}`,
);
writeFileSync(page, written);
