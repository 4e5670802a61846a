import { resolve } from 'node:path';
import type { ScheduleHandle } from '@temporalio/client';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { LiloraError } from '../../core/errors.ts';
import { table } from '../../report/terminal.ts';
import { describeStream, verbSettings, withClient } from '../connect.ts';
import { duration } from '../durations.ts';
import { result, resultJson } from '../output.ts';
import type { Kind, ScheduleLine, ScheduleRequest } from '../schedules.ts';
import { wholeNumber } from './create.ts';

// The SDK takes a second to load, and with it ../schedules.ts: `--help` does without.
const schedules = () => import('../schedules.ts');

const KINDS: readonly Kind[] = ['sweep', 'drift-watch', 'compact'];
const OVERLAPS = ['skip', 'buffer-one', 'buffer-all', 'cancel-other', 'terminate-other', 'allow-all'];
/** Options that mean something to these kinds only, with the field of the workflow's input. */
const OWN: ReadonlyArray<{ option: string; field: string; kinds: readonly Kind[] }> = [
  { option: 'prefix', field: 'prefix', kinds: ['sweep', 'drift-watch'] },
  { option: 'limit', field: 'limit', kinds: ['sweep'] },
  { option: 'points', field: 'limit', kinds: ['drift-watch'] },
  { option: 'apply', field: 'apply', kinds: ['compact'] },
  { option: 'keepGenerations', field: 'keepGenerations', kinds: ['compact'] },
  { option: 'taskDays', field: 'taskDays', kinds: ['compact'] },
  { option: 'cacheDays', field: 'cacheDays', kinds: ['compact'] },
  { option: 'cacheBytes', field: 'cacheBytes', kinds: ['compact'] },
  { option: 'uploadDays', field: 'uploadDays', kinds: ['compact'] },
];

type Options = Omit<ScheduleRequest, 'kind' | 'stream' | 'input'> & Readonly<Record<string, unknown>>;

export function addSchedule(program: Command): void {
  const schedule = program
    .command('schedule')
    .description('Work that Temporal starts by the clock: sweeps for new datasets, drift watches, compaction.')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora schedule create sweep pets --prefix s3://data/incoming --every 6h
  $ lilora schedule create drift-watch pets --prefix s3://data/fresh --cron "0 3 * * *"
  $ lilora schedule create compact --every 24h --apply
  $ lilora schedule list
  $ lilora schedule pause pets/sweep --note "moving the bucket"`,
    );
  addCreate(schedule);
  schedule
    .command('list')
    .description('All schedules, or those of one stream: how often, the next run, how the last one ended.')
    .argument('[stream]')
    .option('--json', 'as JSON')
    .action(async (stream: string | undefined, { json }: { json?: boolean }) => {
      const lines = await withClient(async (client) => (await schedules()).listSchedules(client, stream));
      if (json) resultJson(lines);
      else result(lines.length === 0 ? 'No schedules. Make one with `lilora schedule create`.' : listText(lines));
    });
  addAct(schedule, 'trigger', 'Runs it once, now; the overlap policy holds.', 'runs now', async (handle) => {
    const { policies } = await handle.describe();
    await handle.trigger(policies.overlap);
  });
  addAct(schedule, 'pause', 'No more runs until it is resumed.', 'is paused', (handle, note) =>
    handle.pause(note ?? 'Paused with `lilora schedule pause`.'),
  );
  addAct(schedule, 'resume', 'Lets a paused schedule go on.', 'goes on', (handle, note) =>
    handle.unpause(note ?? 'Resumed with `lilora schedule resume`.'),
  );
  addAct(schedule, 'delete', 'Removes the schedule. Runs that go on are not touched.', 'is deleted', (handle) =>
    handle.delete(),
  );
  for (const command of schedule.commands) command.exitOverride();
}

function addCreate(schedule: Command): void {
  const create = schedule
    .command('create')
    .description('Makes a schedule, named STREAM/KIND. Everything about it can be changed in the Temporal UI.')
    .argument('<kind>', KINDS.join(', '), oneOf(KINDS))
    .argument('[stream]', 'compact works on all streams without it')
    .option('--prefix <uri>', 'where datasets lie, at any depth: s3://bucket/prefix')
    .option('--every <time>', 'between two runs, for example 6h (default: sweep 1h, the others 24h)', duration)
    .addOption(
      new Option('--cron <expression>', 'minute hour day month weekday, instead of --every').conflicts('every'),
    )
    .option('--time-zone <name>', 'of --cron, for example Europe/Berlin (default: UTC)')
    .option('--name <name>', 'instead of the kind, for a second one of the same kind')
    .option('--limit <n>', 'sweep: datasets that one run submits at most', wholeNumber)
    .option('--points <n>', 'drift-watch: points that a task may lose on fresh data', positive)
    .option('--apply', 'compact: remove; without it, it only says what would go')
    .option('--keep-generations <n>', 'compact: newest generations that stay besides the head', wholeNumber)
    .option('--task-days <n>', 'compact: how long steps of finished tasks stay', positive)
    .option('--cache-days <n>', 'compact: how long caches stay', positive)
    .option('--cache-bytes <n>', 'compact: size of the caches that stay', positive)
    .option('--upload-days <n>', 'compact: how long an upload may take', positive)
    .addOption(new Option('--overlap <policy>', 'when the last run still goes on').choices(OVERLAPS))
    .option('--jitter <time>', 'starts are put off at random by up to so much', duration)
    .option('--catch-up <time>', 'missed runs this late are made up for (default: one interval)', duration)
    .option('--pause-on-failure', 'pause after a failed run')
    .option('--no-pause-on-failure', 'go on after a failed run')
    .option('--paused', 'make it, but do not let it run yet')
    .option('--json', 'the schedule as JSON')
    .action(async (kind: Kind, stream: string | undefined, options: Options & { json?: boolean }) => {
      const misuse = (text: string) => create.error(`error: ${text}`, { exitCode: 2 });
      if (stream === undefined && kind !== 'compact') misuse(`${kind} needs a stream`);
      if (kind !== 'compact' && options['prefix'] === undefined) misuse(`${kind} needs --prefix`);
      for (const { option, kinds } of OWN)
        if (options[option] !== undefined && !kinds.includes(kind))
          misuse(`--${option.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} goes with ${kinds.join(', ')}`);
      const request = { ...options, kind, stream, input: await inputOf(kind, options) };
      const made = await withClient(async (client) => {
        const { createSchedule, describeSchedule } = await schedules();
        if (stream !== undefined) await describeStream(client, stream);
        const { scheduleId } = await createSchedule(client, request);
        const name = scheduleId.slice('lilora/'.length);
        return { name, line: options.json ? await describeSchedule(client, name) : null };
      });
      if (options.json) resultJson(made.line);
      else result(`Schedule ${made.name} is made. Run it now with: lilora schedule trigger ${made.name}`);
    });
}

async function inputOf(kind: Kind, options: Options): Promise<Record<string, unknown>> {
  const own = OWN.filter(({ option, kinds }) => kinds.includes(kind) && options[option] !== undefined);
  const input = Object.fromEntries(own.map(({ option, field }) => [field, options[option]]));
  return typeof input['prefix'] === 'string' ? { ...input, prefix: await reachable(input['prefix']) } : input;
}

/** A place that workers can read. */
async function reachable(prefix: string): Promise<string> {
  if (prefix.includes('://')) return prefix.replace(/\/+$/, '');
  const { store } = await verbSettings();
  if (!store.includes('://')) return resolve(prefix);
  throw new LiloraError('BadConfig', `${prefix}: workers of this deployment read s3:// only. Name a prefix in S3.`);
}

type Act = (handle: ScheduleHandle, note: string | undefined) => Promise<void>;

function addAct(schedule: Command, verb: string, description: string, done: string, act: Act): void {
  const command = schedule.command(verb).description(description).argument('<schedule>', 'as `schedule list` shows it');
  if (verb === 'pause' || verb === 'resume') command.option('--note <text>', 'shown in lists and in the Temporal UI');
  command.action(async (name: string, { note }: { note?: string }) => {
    await withClient(async (client) => (await schedules()).onSchedule(client, name, (handle) => act(handle, note)));
    result(`Schedule ${name} ${done}.`);
  });
}

function listText(lines: readonly ScheduleLine[]): string {
  const time = (text: string | null | undefined) => text?.slice(0, 16).replace('T', ' ') ?? '';
  return table([
    ['schedule', 'kind', 'cadence', 'next (UTC)', 'last run (UTC)', 'ended', 'note'],
    ...lines.map(({ schedule, kind, cadence, paused, next, lastRun, note }) => [
      schedule,
      kind,
      cadence,
      paused ? 'paused' : time(next),
      time(lastRun?.startedAt),
      lastRun?.status ?? '',
      note,
    ]),
  ]);
}

function oneOf<T extends string>(names: readonly T[]) {
  return (text: string): T => {
    const found = names.find((name) => name === text);
    if (found === undefined) throw new InvalidArgumentError(`Choose from ${names.join(', ')}.`);
    return found;
  };
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value >= 0) || !Number.isFinite(value)) throw new InvalidArgumentError('It must be a number, 0 or more.');
  return value;
}
