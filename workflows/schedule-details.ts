import { plain } from './details.ts';
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

/**
 * Markdown for the Temporal UI, of the workflows that schedules start. Its panel is half a page wide: tables hold numbers
 * and single words, everything longer is in lists.
 */

/** Messages can be long: the whole text is in the result of the run. */
const short = (text: string) => plain(text.length > 300 ? `${text.slice(0, 300)}…` : text);
const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
const points = (value: number) => value.toFixed(1);
const parts = (...texts: string[]) => texts.filter((text) => text !== '').join('\n\n');
const list = (lines: readonly string[]) => lines.map((line) => `- ${line}`).join('\n');

/** The UI shows columns without space between them, and breaks cells at spaces: figure spaces do neither. */
const GAP = '\u2007\u2007';
const cell = (text: string, i: number) => (i === 0 ? '' : GAP) + text.replaceAll(' ', '\u2007');

/** Rows under heads; every column but the first `words` is of numbers. */
function table(heads: readonly string[], words: number, rows: ReadonlyArray<readonly string[]>): string {
  if (rows.length === 0) return '';
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;
  const rule = `|${heads.map((_, i) => (i < words ? ' --- |' : ' ---: |')).join('')}`;
  return [line(heads), rule, ...rows.map(line)].join('\n');
}

/** Current details of a sweep. */
export function sweepDetails(
  { stream, prefix }: Pick<SweepInput, 'stream' | 'prefix'>,
  { datasets, left, known }: SweepResult,
  found: number,
): string {
  const refused = datasets.filter(({ status }) => status === 'refused').length;
  const submitted = datasets.filter(({ status, duplicate }) => status !== 'refused' && !duplicate).length;
  const waiting = found - datasets.length;
  const numbers = [
    `**${submitted} submitted**`,
    refused > 0 ? `**${refused} refused**` : '',
    `${known} known`,
    waiting > 0 ? `${waiting} to go` : '',
    left > 0 ? `${left} left for the next run` : '',
  ];
  return parts(
    `Sweep of ${plain(prefix)} for stream **${stream}**: ${numbers.filter((text) => text !== '').join(', ')}`,
    list(
      datasets.map(({ uri, task, status, duplicate, message }) => {
        const answer = `${task === null ? '' : `**${task}** `}${status}${duplicate ? ' (known)' : ''}`;
        return `${answer}: ${plain(uri)}${message === undefined ? '' : `. ${short(message)}`}`;
      }),
    ),
  );
}

const scores = ({ published, now }: DriftMeasurement) => [points(published), points(now), points(published - now)];

type Shown = Pick<FreshTests, 'generation' | 'fresh' | 'history'>;

/** Current details of a drift watch. */
export function driftDetails(
  { stream, prefix }: Pick<DriftWatchInput, 'stream' | 'prefix'>,
  { limit, measured, unmeasured }: DriftReport,
  tests: Shown | null,
  cost: string,
): string {
  return parts(
    `${driftState(measured, unmeasured.length, tests)}. Stream **${stream}**${tests ? `, generation ${tests.generation}` : ''}, fresh data under ${plain(prefix)}`,
    table(
      ['task', 'published', 'now', 'lost', 'noise', 'samples'],
      1,
      measured.map((measurement) => {
        const { task, noise, count: samples, over } = measurement;
        return [over ? `**${task}**` : task, ...scores(measurement), points(noise), String(samples)];
      }),
    ),
    list([
      ...measured.map(({ task, dataset, over }) => `${over ? `**${task} drifted**` : task}: ${plain(dataset.uri)}`),
      ...unmeasured.map(({ task, uri, message }) => `${task} was not measured on ${plain(uri)}: ${short(message)}`),
    ]),
    measured.length > 0
      ? `A task has drifted when it lost more than ${limit} points and more than its noise: what test data of that size lose by chance.`
      : '',
    tests && tests.history.length > 0
      ? `Earlier measurements, newest first:\n\n${table(
          ['measured', 'task', 'generation', 'published', 'now', 'lost'],
          2,
          tests.history.map((measurement) => {
            const { measuredAt, task, generation, over } = measurement;
            const when = measuredAt.slice(0, 16).replace('T', ' ');
            return [when, over ? `**${task}**` : task, String(generation), ...scores(measurement)];
          }),
        )}`
      : '',
    cost,
  );
}

/** What a person has to know first. */
function driftState(measured: DriftReport['measured'], unmeasured: number, tests: Shown | null): string {
  if (!tests) return 'Nothing is published yet';
  const over = measured.filter((measurement) => measurement.over).map(({ task }) => task);
  if (over.length > 0) return `**Drift: ${over.join(', ')}**`;
  const waiting = tests.fresh.length - measured.length - unmeasured;
  if (waiting > 0) return `Measuring; ${waiting} to go`;
  return measured.length > 0 ? 'No drift' : 'No fresh test data';
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
  const { keepGenerations, taskDays, cacheDays, cacheBytes, uploadDays } = settings;
  const rows = places.flatMap(({ stream, removed }) =>
    removed.map(({ kind, count: objects, bytes: size }) => [
      stream ?? '(shared)',
      kind,
      String(objects),
      sizeText(size),
    ]),
  );
  const reports = places.flatMap(({ report }) => (report === null ? [] : [plain(report)]));
  return parts(
    applied
      ? `**${sizeText(bytes)} removed** from ${count(streams, 'stream')}`
      : `**Dry run: ${sizeText(bytes)} would go** from ${count(streams, 'stream')}. Nothing was removed: the input lacks \`"apply": true\`.`,
    table(['stream', 'what', 'objects', 'size'], 2, rows),
    list(places.flatMap(({ stream, message }) => (message ? [`**${stream}**: ${plain(message)}`] : []))),
    reports.length > 0 ? `Every object is listed in the store:\n\n${list(reports)}` : '',
    `Kept: the head, the newest ${count(keepGenerations, 'generation')} and all that they refer to; steps of tasks for ${count(taskDays, 'day')}; caches for ${count(cacheDays, 'day')}, at most ${sizeText(cacheBytes)}; unfinished uploads for ${count(uploadDays, 'day')}.`,
  );
}

const UNITS = ['bytes', 'KB', 'MB', 'GB', 'TB'];

function sizeText(bytes: number): string {
  const power = bytes < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${power === 0 ? bytes : (bytes / 1000 ** power).toFixed(1)} ${UNITS[power]}`;
}
