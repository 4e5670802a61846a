import {
  type Client,
  ScheduleAlreadyRunning,
  type ScheduleDescription,
  type ScheduleHandle,
  ScheduleNotFoundError,
  type ScheduleOptions,
  ScheduleOverlapPolicy,
} from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { DEFAULTS } from '../core/defaults.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';
import { NAME_PATTERN, QUEUES, SCHEMA } from '../workflows/contract.ts';
import { SCHEDULED } from '../workflows/schedule-contract.ts';
import { duration, durationText } from './durations.ts';

/** What a schedule starts, as the command line calls it. */
export const KINDS = {
  sweep: { workflow: SCHEDULED.sweep, defaults: 'sweep' },
  'drift-watch': { workflow: SCHEDULED.driftWatch, defaults: 'driftWatch' },
  compact: { workflow: SCHEDULED.compact, defaults: 'compact' },
} as const;
export type Kind = keyof typeof KINDS;

/** How the command line calls what happens when a run is due while the last one goes on. */
export const OVERLAPS = {
  skip: ScheduleOverlapPolicy.SKIP,
  'buffer-one': ScheduleOverlapPolicy.BUFFER_ONE,
  'buffer-all': ScheduleOverlapPolicy.BUFFER_ALL,
  'cancel-other': ScheduleOverlapPolicy.CANCEL_OTHER,
  'terminate-other': ScheduleOverlapPolicy.TERMINATE_OTHER,
  'allow-all': ScheduleOverlapPolicy.ALLOW_ALL,
} as const;

/** A schedule as a person asks for it. Times in milliseconds; what is absent has a default. */
export interface ScheduleRequest {
  readonly kind: Kind;
  /** Absent: every stream (compact alone). */
  readonly stream?: string;
  /** Last part of its id; the kind when absent. */
  readonly name?: string;
  /** What the workflow is given beside schema and stream. */
  readonly input: Readonly<Record<string, unknown>>;
  readonly every?: number;
  readonly cron?: string;
  readonly timeZone?: string;
  readonly overlap?: keyof typeof OVERLAPS;
  readonly jitter?: number;
  readonly catchUp?: number;
  readonly pauseOnFailure?: boolean;
  readonly paused?: boolean;
}

/** The server takes no shorter catch-up window. */
const SHORTEST_WINDOW = 10_000;
const MINUTE = 60_000;

/** Id of a schedule from the name that `schedule list` shows, such as `pets/sweep`. */
export const scheduleId = (name: string) => `lilora/${name.replace(/^lilora\//, '')}`;

/**
 * How Temporal is asked for it. The catch-up window is one interval less the jitter, so that of all the runs that were
 * missed in an outage exactly the last one is made up for: not none, and not all of them.
 */
export function scheduleOptions(request: ScheduleRequest): ScheduleOptions {
  const { kind, stream, name = kind, input, cron, timeZone } = request;
  for (const part of [stream, name])
    if (part !== undefined && !NAME_PATTERN.test(part))
      throw new LiloraError('BadConfig', `"${part}" is no name: use a-z, 0-9 and -, at most 63 characters.`);
  const { workflow, defaults } = KINDS[kind];
  const every =
    cron === undefined ? (request.every ?? duration(DEFAULTS[`schedule.${defaults}Every`].value)) : undefined;
  const jitter = request.jitter ?? defaultJitter(every);
  const summary = summaryOf(request);
  const id = scheduleId(stream === undefined ? name : `${stream}/${name}`);
  const typedSearchAttributes =
    stream === undefined ? [] : [{ key: defineSearchAttributeKey('LiloraStream', 'KEYWORD'), value: stream }];
  return {
    scheduleId: id,
    spec: {
      ...(every === undefined ? { cronExpressions: [`${cron} # cron ${cron}`] } : { intervals: [{ every }] }),
      jitter,
      ...(timeZone === undefined ? {} : { timezone: timeZone }),
    },
    action: {
      type: 'startWorkflow',
      workflowType: workflow,
      workflowId: id,
      taskQueue: QUEUES.orchestrator,
      args: [{ schema: SCHEMA, ...(stream === undefined ? {} : { stream }), ...input }],
      staticSummary: summary,
      staticDetails: `Started by the schedule ${id}. Its input can be changed there.`,
      typedSearchAttributes,
    },
    policies: {
      overlap: OVERLAPS[request.overlap ?? (DEFAULTS[`schedule.${defaults}Overlap`].value as keyof typeof OVERLAPS)],
      catchupWindow: request.catchUp ?? (every === undefined ? SHORTEST_WINDOW : windowOf(every, jitter)),
      pauseOnFailure: request.pauseOnFailure ?? DEFAULTS[`schedule.${defaults}Pause`].value,
    },
    state: { paused: request.paused ?? false, note: summary },
    memo: { kind, ...(stream === undefined ? {} : { stream }), ...input },
    typedSearchAttributes,
  };
}

/** What a schedule is for, in a few words. */
function summaryOf({ kind, stream, input }: ScheduleRequest): string {
  const whose = stream === undefined ? 'all streams' : `stream ${stream}`;
  if (kind === 'sweep') return `Sweep ${input['prefix']} for ${whose}`;
  if (kind === 'drift-watch') return `Watch ${whose} for drift on ${input['prefix']}`;
  return `Compact ${whose}${input['apply'] ? '' : ' (dry run)'}`;
}

/** A share of the interval; a cron expression names the minute, so none. */
function defaultJitter(every = 0): number {
  const share = every * DEFAULTS['schedule.jitterShare'].value;
  return Math.min(Math.floor(share / 1000) * 1000, DEFAULTS['schedule.jitterMinutes'].value * MINUTE);
}

const windowOf = (interval: number, jitter: number) => Math.max(SHORTEST_WINDOW, interval - jitter);

/** Creates a schedule; one of that id must not exist. Of a cron expression the server tells the interval. */
export async function createSchedule(client: Client, request: ScheduleRequest): Promise<ScheduleHandle> {
  const options = scheduleOptions(request);
  const handle = await client.schedule.create(options).catch((error) => {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    const name = options.scheduleId.replace(/^lilora\//, '');
    const next = `Change it in the Temporal UI, delete it with \`lilora schedule delete ${name}\`, or use another --name.`;
    throw new LiloraError('Conflict', `There is a schedule ${name} already. ${next}`);
  });
  if (request.cron === undefined || request.catchUp !== undefined) return handle;
  const { info, spec } = await handle.describe();
  const gaps = info.nextActionTimes.slice(1).map((time, i) => time.getTime() - info.nextActionTimes[i]!.getTime());
  if (gaps.length > 0)
    await handle.update((now) => ({
      ...now,
      policies: { ...now.policies, catchupWindow: windowOf(Math.min(...gaps), spec.jitter ?? 0) },
    }));
  return handle;
}

/** Runs something on a schedule by its name; one that does not exist is `NotFound`. */
export async function onSchedule<T>(
  client: Client,
  name: string,
  run: (handle: ScheduleHandle) => Promise<T>,
): Promise<T> {
  return run(client.schedule.getHandle(scheduleId(name))).catch((error) => {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
    throw new LiloraError('NotFound', `There is no schedule ${name}. See \`lilora schedule list\`.`);
  });
}

/** A schedule in a list. */
export interface ScheduleLine {
  readonly schedule: string;
  readonly kind: Kind;
  readonly stream: string | null;
  /** What its workflow is given. */
  readonly input: unknown;
  /** In words: how often. */
  readonly cadence: string;
  readonly overlap: string;
  readonly catchUpSeconds: number;
  readonly pauseOnFailure: boolean;
  readonly paused: boolean;
  /** For example why it is paused. */
  readonly note: string;
  readonly next: string | null;
  readonly lastRun: { readonly workflowId: string; readonly startedAt: string; readonly status: string } | null;
}

/** The schedules of one stream or of all. */
export async function listSchedules(client: Client, stream?: string): Promise<ScheduleLine[]> {
  const names: string[] = [];
  for await (const { scheduleId: id } of client.schedule.list()) {
    const [, name] = /^lilora\/(.+)$/.exec(id) ?? [];
    if (name !== undefined && (stream === undefined || streamOf(name) === stream)) names.push(name);
  }
  // A list may be late, and name what is deleted; what a schedule says of itself is not.
  const lines = await Promise.all(
    names.sort().map((name) =>
      describeSchedule(client, name).catch((error) => {
        if (!isLiloraError(error, 'NotFound')) throw error;
        return null;
      }),
    ),
  );
  return lines.filter((line) => line !== null);
}

/** One schedule as a list shows it, `null` where it is not ours; one that does not exist is `NotFound`. */
export const describeSchedule = (client: Client, name: string): Promise<ScheduleLine | null> =>
  onSchedule(client, name, async (handle) => lineOf(client, name, await handle.describe()));

const streamOf = (name: string) => (name.includes('/') ? name.split('/')[0]! : null);

async function lineOf(
  client: Client,
  name: string,
  { action, info, policies, spec, state }: ScheduleDescription,
): Promise<ScheduleLine | null> {
  const kind = kindOf(action.workflowType);
  if (!kind) return null;
  const last = info.recentActions.at(-1);
  const every = spec.intervals?.map((interval) => `every ${durationText(interval.every)}`) ?? [];
  // The server keeps a cron expression as a calendar, and the comment behind it.
  const calendars = spec.calendars?.map(({ comment }) => comment || 'by calendar') ?? [];
  return {
    schedule: name,
    kind,
    stream: streamOf(name),
    input: action.args?.[0] ?? null,
    cadence: [...every, ...calendars].join(', ') || 'never',
    overlap: policies.overlap ?? ScheduleOverlapPolicy.SKIP,
    catchUpSeconds: policies.catchupWindow / 1000,
    pauseOnFailure: policies.pauseOnFailure,
    paused: state.paused,
    note: state.note ?? '',
    next: state.paused ? null : (info.nextActionTimes[0]?.toISOString() ?? null),
    lastRun: last
      ? {
          workflowId: last.action.workflow.workflowId,
          startedAt: last.takenAt.toISOString(),
          status: await statusOf(client, last.action.workflow),
        }
      : null,
  };
}

const kindOf = (workflow: string) => (Object.keys(KINDS) as Kind[]).find((kind) => KINDS[kind].workflow === workflow);

/** How a run ended, or that it goes on; of a run that the server has forgotten nothing is known. */
async function statusOf(client: Client, { workflowId }: { readonly workflowId: string }): Promise<string> {
  return client.workflow
    .getHandle(workflowId)
    .describe()
    .then(
      ({ status }) => status.name.toLowerCase(),
      () => 'unknown',
    );
}
