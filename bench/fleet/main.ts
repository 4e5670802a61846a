/**
 * Scale-to-zero against always-on, by discrete-event simulation: `npm run bench:fleet [-- --json]`. Without options it
 * runs the standard scenarios of docs/cost.md on the measured times in bench/results/fleet-times.json, which
 * `npm run bench:fleet -- --measure` makes. With `--streams`, `--tasks-per-day`, `--trace` and so on it runs one of your own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LiloraError } from '../../core/errors.ts';
import { readPrices } from '../../core/prices.ts';
import { moneyText } from '../../report/cost.ts';
import { table } from '../../report/terminal.ts';
import { ROOT } from '../../workers/runtime.ts';
import { QUEUES } from '../../workflows/contract.ts';
import { type Line, runScenario, type Scenario, standardScenarios } from './scenarios.ts';
import type { Times } from './simulate.ts';
import { DAY, makeTasks, PATTERNS, type Pattern, readTasks } from './tasks.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    markdown: { type: 'boolean', default: false },
    measure: { type: 'boolean', default: false },
    times: { type: 'string', default: join(ROOT, 'bench/results/fleet-times.json') },
    out: { type: 'string', default: join(ROOT, 'bench/results/fleet.json') },
    seeds: { type: 'string', default: '1,2,3,4,5' },
    prices: { type: 'string' },
    queue: { type: 'string', default: QUEUES.gpu },
    // One scenario of your own:
    pattern: { type: 'string' },
    streams: { type: 'string' },
    'tasks-per-day': { type: 'string' },
    days: { type: 'string' },
    run: { type: 'string' },
    trace: { type: 'string' },
    idle: { type: 'string' },
    'max-workers': { type: 'string' },
    'always-on': { type: 'string' },
  },
});

function numbers(name: string, text: string): number[] {
  const list = text.split(',').map(Number);
  if (list.length > 0 && list.every((value) => value >= 0 && Number.isFinite(value))) return list;
  throw new LiloraError('BadConfig', `--${name} is "${text}": give numbers from 0, with commas between them.`);
}
const number = (name: keyof typeof values, fallback: number): number =>
  values[name] === undefined ? fallback : numbers(name, String(values[name]))[0]!;

/** The scenario that the options ask for; null when they ask for none. */
function own(demo: readonly number[]): Scenario | null {
  const asked = [
    'pattern',
    'streams',
    'tasks-per-day',
    'days',
    'run',
    'trace',
    'idle',
    'max-workers',
    'always-on',
  ] as const;
  if (asked.every((name) => values[name] === undefined)) return null;
  const common = {
    idleSeconds: numbers('idle', values.idle ?? '5,60,300'),
    maxWorkers: values['max-workers'] === undefined ? undefined : number('max-workers', 1),
    alwaysOn: values['always-on'] === undefined ? undefined : number('always-on', 1),
  };
  if (values.trace !== undefined) {
    const tasks = readTasks(readFileSync(values.trace, 'utf8'), values.trace);
    const days = number('days', Math.ceil((tasks.at.at(-1) ?? 0) / DAY));
    return { ...common, name: values.trace, tasks: () => tasks, days };
  }
  const pattern = values.pattern ?? 'poisson';
  if (!PATTERNS.some((name) => name === pattern))
    throw new LiloraError('BadConfig', `There is no pattern "${pattern}". Choose from ${PATTERNS.join(', ')}.`);
  const demand = {
    pattern: pattern as Pattern,
    streams: number('streams', 1),
    tasksPerDay: number('tasks-per-day', 20),
    days: number('days', 1),
    runSeconds: values.run === undefined ? demo : numbers('run', values.run),
  };
  const name = `${demand.streams} streams, ${demand.tasksPerDay} tasks a day, ${demand.days} days, ${pattern}`;
  return { ...common, name, tasks: (random) => makeTasks(demand, random), days: demand.days };
}

const HEAD = [
  'policy',
  'queueing mean',
  'p50',
  'p95',
  'max',
  'starts',
  'peak',
  'useful GPU-s',
  'billed GPU-s',
  'billed/useful',
];

function cells({ policy, outcome, money }: Line, currency: string | null): string[] {
  const { queueing, coldStarts, peakWorkers, usefulSeconds, billedSeconds, ratio } = outcome;
  return [
    policy,
    ...[queueing.mean, queueing.p50, queueing.p95, queueing.max].map((seconds) => seconds.toFixed(1)),
    coldStarts.toFixed(0),
    peakWorkers.toFixed(0),
    usefulSeconds.toFixed(0),
    billedSeconds.toFixed(0),
    ratio.toFixed(2),
    ...(currency === null ? [] : [moneyText(money, currency)]),
  ];
}

/** The same table for docs/cost.md. */
function markdown(rows: ReadonlyArray<readonly string[]>): string {
  const line = (row: readonly string[]) => `| ${row.join(' | ')} |`;
  return [line(rows[0]!), `| --- |${' ---: |'.repeat(rows[0]!.length - 1)}`, ...rows.slice(1).map(line)].join('\n');
}

if (values.measure) {
  const { measureTimes } = await import('./measure.ts');
  const measured = await measureTimes();
  writeFileSync(values.times, `${JSON.stringify(measured, null, 1)}\n`);
  process.stdout.write(`${values.times}\n`);
} else {
  const times = JSON.parse(readFileSync(values.times, 'utf8')) as Times & { readonly run: readonly number[] };
  const prices = values.prices === undefined ? null : readPrices(readFileSync(values.prices), values.prices);
  const wanted = own(times.run);
  const results = (wanted ? [wanted] : standardScenarios(times.run)).map((scenario) =>
    runScenario(scenario, { times, seeds: numbers('seeds', values.seeds), prices, queue: values.queue }),
  );
  if (!wanted) writeFileSync(values.out, `${JSON.stringify({ times, results }, null, 1)}\n`);
  if (values.json)
    process.stdout.write(
      `${JSON.stringify({ lines: results.flatMap(({ lines }) => lines), rows: results.flatMap(({ rows }) => rows) })}\n`,
    );
  else
    for (const { lines: shown } of results) {
      const rows = [
        [...HEAD, ...(prices ? ['money'] : [])],
        ...shown.map((line) => cells(line, prices?.currency ?? null)),
      ];
      const { tasks } = shown[0]!.outcome;
      const title = `${shown[0]!.scenario} (${tasks.toFixed(0)} tasks)`;
      process.stdout.write(values.markdown ? `**${title}**\n\n${markdown(rows)}\n\n` : `${title}\n${table(rows)}\n\n`);
    }
}
