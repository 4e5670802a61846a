import { LiloraError } from '../../core/errors.ts';
import type { Random } from '../../learning/training/random.ts';

export const DAY = 86_400;

/** What is submitted: by time of submission, as columns, because there may be millions. */
export interface Tasks {
  /** Seconds from the start of the simulation. */
  readonly at: Float64Array;
  /** The stream that learns it: one task at a time. */
  readonly stream: Int32Array;
  /** GPU-seconds of useful work. */
  readonly run: Float64Array;
  readonly streams: number;
}

/** How tasks come. All have the same mean rate; they differ in when. */
export const PATTERNS = ['poisson', 'business', 'bursts'] as const;
export type Pattern = (typeof PATTERNS)[number];

export interface Demand {
  readonly pattern: Pattern;
  readonly streams: number;
  /** Mean tasks a day of one stream, over the whole time. */
  readonly tasksPerDay: number;
  readonly days: number;
  /** Useful seconds of a task: one of these, each as likely as the others. */
  readonly runSeconds: readonly number[];
}

/** From eight to eighteen o'clock on five of seven days, evenly. */
const BUSINESS = { from: 8 * 3600, to: 18 * 3600, days: 5 };
/** Tasks of a burst on average, and the time within which they come: several datasets land together. */
const BURST = { tasks: 5, seconds: 600 };

export function makeTasks(demand: Demand, random: Random): Tasks {
  const { pattern, streams, tasksPerDay, days, runSeconds } = demand;
  const end = days * DAY;
  const rate = (streams * tasksPerDay) / DAY;
  const coming = random.split('arrivals');
  const times = { poisson, business, bursts }[pattern](rate, end, coming);
  // Poisson processes side by side are one of the summed rate, whose events belong to streams drawn at random.
  return columns(
    times.map((at) => ({ at, stream: coming.below(streams), run: runSeconds[coming.below(runSeconds.length)]! })),
    streams,
  );
}

function* clock(rate: number, end: number, random: Random): Generator<number> {
  for (let at = interval(rate, random); at < end; at += interval(rate, random)) yield at;
}

const interval = (rate: number, random: Random) => -Math.log(1 - random.uniform()) / rate;

function poisson(rate: number, end: number, random: Random): number[] {
  return [...clock(rate, end, random)];
}

/** A Poisson process in the time that is open, spread over the week. */
function business(rate: number, end: number, random: Random): number[] {
  const { from, to, days } = BUSINESS;
  const open = to - from;
  const share = (days * open) / (7 * DAY);
  const openOf = (seconds: number) => {
    const full = Math.floor(seconds / DAY);
    const inDay = Math.min(Math.max(seconds - full * DAY - from, 0), open);
    const workdays = 5 * Math.floor(full / 7) + Math.min(full % 7, days);
    return workdays * open + (full % 7 < days ? inDay : 0);
  };
  return [...clock(rate / share, openOf(end), random)].map((at) => {
    const workday = Math.floor(at / open);
    return (7 * Math.floor(workday / days) + (workday % days)) * DAY + from + (at - workday * open);
  });
}

/** Bursts come as a Poisson process; each has a geometric number of tasks, evenly within some minutes. */
function bursts(rate: number, end: number, random: Random): number[] {
  const times: number[] = [];
  for (const at of clock(rate / BURST.tasks, end, random)) {
    do times.push(at + BURST.seconds * random.uniform());
    while (random.uniform() > 1 / BURST.tasks);
  }
  return times.filter((at) => at < end).sort((a, b) => a - b);
}

function columns(tasks: ReadonlyArray<{ at: number; stream: number; run: number }>, streams: number): Tasks {
  return {
    at: Float64Array.from(tasks, ({ at }) => at),
    stream: Int32Array.from(tasks, ({ stream }) => stream),
    run: Float64Array.from(tasks, ({ run }) => run),
    streams,
  };
}

/**
 * Recorded tasks: lines of `seconds,stream,run seconds`, in any order, with or without a head. Streams are any names.
 */
export function readTasks(text: string, file: string): Tasks {
  const names = new Map<string, number>();
  const rows = text.split(/\r?\n/).flatMap((line, i) => {
    if (line.trim() === '' || (i === 0 && /[a-z]/i.test(line.split(',')[0]!))) return [];
    const [at, name, run] = line.split(',').map((cell) => cell.trim());
    const row = { at: Number(at), stream: names.get(name!) ?? names.size, run: Number(run) };
    if (!at || !name || !run || !(row.at >= 0) || !(row.run > 0))
      throw new LiloraError('BadConfig', `${file}:${i + 1}: "${line}" is not "seconds,stream,run seconds".`);
    names.set(name, row.stream);
    return [row];
  });
  return columns(
    rows.toSorted((a, b) => a.at - b.at),
    names.size,
  );
}
