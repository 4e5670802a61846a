import type {
  CompactResult,
  DriftMeasurement,
  DriftReport,
  DriftWatchInput,
  FreshTests,
  RetentionSettings,
  SweepInput,
  SweepResult,
} from './schedule-contract.ts';

/** Markdown for the Temporal UI, of the workflows that schedules start. */

/** Text of others inside a table. */
const cell = (text: string) => text.replace(/[\r\n]+/g, ' ').replaceAll('|', '\\|');

/** Rows under heads; those that start with `>` are numbers. The UI shows columns without space: the heads bring it. */
function table(heads: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const numeric = heads.map((head) => head.startsWith('>'));
  const names = heads.map((head, i) => (i === 0 ? '' : '\u2003') + head.replace(/^>/, ''));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((text, i) => (i === 0 || numeric[i] ? '' : '\u2003') + cell(text)).join(' | ')} |`;
  return [
    line(names.map((name) => name)),
    `|${numeric.map((n) => (n ? ' ---: |' : ' --- |')).join('')}`,
    ...rows.map(line),
  ].join('\n');
}

const points = (value: number) => value.toFixed(1);
const parts = (...texts: string[]) => texts.filter((text) => text !== '').join('\n\n');

/** Current details of a sweep. */
export function sweepDetails(
  { stream, prefix }: Pick<SweepInput, 'stream' | 'prefix'>,
  { datasets, left, known }: SweepResult,
  found: number,
): string {
  const waiting = found - datasets.length;
  const refused = datasets.filter(({ status }) => status === 'refused').length;
  const submitted = datasets.filter(({ status, duplicate }) => status !== 'refused' && !duplicate).length;
  return parts(
    `Sweep of ${cell(prefix)} for stream **${stream}**`,
    `**${submitted} submitted**${refused > 0 ? `, **${refused} refused**` : ''}, ${known} known${waiting > 0 ? `, ${waiting} to go` : ''}${left > 0 ? `, ${left} left for the next run` : ''}`,
    datasets.length === 0
      ? ''
      : table(
          ['dataset', 'task', 'answer', ''],
          datasets.map(({ uri, task, status, duplicate, message }) => [
            uri,
            task ?? '',
            duplicate ? `${status} (known)` : status,
            message ?? '',
          ]),
        ),
  );
}

const driftHeads = ['task', '>generation', '>published', '>now', '>lost', '>noise', '>samples', '', 'fresh data'];
const driftRow = ({ task, generation, published, now, noise, count, over, dataset }: DriftMeasurement) => [
  over ? `**${task}**` : task,
  String(generation),
  points(published),
  points(now),
  points(published - now),
  points(noise),
  String(count),
  over ? '**drifted**' : 'as published',
  dataset.uri,
];

/** Current details of a drift watch. */
export function driftDetails(
  { stream, prefix }: Pick<DriftWatchInput, 'stream' | 'prefix'>,
  { limit, measured, unmeasured }: DriftReport,
  tests: FreshTests | null,
  cost: string,
): string {
  const over = measured.filter((measurement) => measurement.over).map(({ task }) => task);
  const waiting = (tests?.fresh.length ?? 0) - measured.length - unmeasured.length;
  const state =
    over.length > 0
      ? `**Drift: ${over.join(', ')}**`
      : waiting > 0
        ? `Measuring; ${waiting} to go`
        : measured.length > 0
          ? 'No drift'
          : tests
            ? 'No fresh test data'
            : 'Nothing is published yet';
  return parts(
    `${state}. Stream **${stream}**${tests ? `, generation ${tests.generation}` : ''}, fresh data under ${cell(prefix)}`,
    `A task has drifted when it lost more than ${limit} points, and more than its noise: what test data of that size lose by chance.`,
    measured.length > 0 ? table(driftHeads, measured.map(driftRow)) : '',
    unmeasured.length > 0
      ? table(
          ['not measured', 'why', 'fresh data'],
          unmeasured.map(({ task, message, uri }) => [task, message, uri]),
        )
      : '',
    tests && tests.history.length > 0
      ? `Earlier measurements, newest first:\n\n${table(
          ['measured', ...driftHeads],
          tests.history.map((measurement) => [
            measurement.measuredAt.slice(0, 16).replace('T', ' '),
            ...driftRow(measurement),
          ]),
        )}`
      : '',
    cost,
  );
}

/** What a drifted run fails with: a sentence a task, and what to do. */
export function driftMessage(stream: string, limit: number, over: readonly DriftMeasurement[]): string {
  const sentences = over.map(
    ({ task, published, now, dataset }) =>
      `Task ${task} scores ${points(now)} on ${dataset.uri}; it was published with ${points(published)}.`,
  );
  return `Stream ${stream} has drifted (limit ${limit} points). ${sentences.join(' ')} Look at the data; learn newer ones with \`lilora submit ${stream} DATASET --task NAME\`.`;
}

/** Current details of a compaction. */
export function compactDetails(result: CompactResult, settings: RetentionSettings): string {
  const { applied, bytes, streams, parts: places } = result;
  const rows = places.flatMap(({ stream, removed, report, message }) => {
    const place = stream ?? '(shared)';
    if (message) return [[place, '', '', '', message]];
    return removed.map(({ kind, count, bytes: size }) => [place, kind, String(count), sizeText(size), report ?? '']);
  });
  return parts(
    applied
      ? `**${sizeText(bytes)} removed** from ${streams} streams`
      : `**Dry run: ${sizeText(bytes)} would go** from ${streams} streams. Nothing was removed; run it with \`apply\`.`,
    `Kept: the head, the newest ${settings.keepGenerations} generations and all that they refer to; steps of tasks for ${settings.taskDays} days; caches for ${settings.cacheDays} days, at most ${sizeText(settings.cacheBytes)}; unfinished uploads for ${settings.uploadDays} days.`,
    rows.length > 0 ? table(['stream', 'what', '>objects', '>bytes', 'report in the store'], rows) : '',
  );
}

const UNITS = ['bytes', 'KB', 'MB', 'GB', 'TB'];

function sizeText(bytes: number): string {
  const power = bytes < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${power === 0 ? bytes : (bytes / 1000 ** power).toFixed(1)} ${UNITS[power]}`;
}
