import { type Client, ScheduleNotFoundError } from '@temporalio/client';
import { describe, expect, it } from 'vitest';
import { duration, durationText } from './durations.ts';
import { describeSchedule, listSchedules, type ScheduleRequest, scheduleOptions } from './schedules.ts';

const HOUR = 3_600_000;
const sweep = (more: Partial<ScheduleRequest> = {}) =>
  scheduleOptions({ kind: 'sweep', stream: 'pets', input: { prefix: 's3://data/incoming' }, ...more });

describe('a time', () => {
  it.each([
    ['90s', 90_000],
    ['10m', 600_000],
    ['6h', 6 * HOUR],
    ['7d', 7 * 24 * HOUR],
    ['0s', 0],
  ])('%s is %d ms, and back', (text, milliseconds) => {
    expect(duration(text)).toBe(milliseconds);
    expect(duration(durationText(milliseconds))).toBe(milliseconds);
  });

  it.each(['', '6', 'h', '1.5h', '-1h', '6 h', '1w'])('%j is none', (text) => {
    expect(() => duration(text)).toThrow(/such as 90s/);
  });
});

describe('a schedule', () => {
  it('starts its workflow under an id of stream and kind, and says so to people', () => {
    const { scheduleId, action, state, memo } = sweep({ every: 6 * HOUR });
    expect(scheduleId).toBe('lilora/pets/sweep');
    expect(action).toMatchObject({
      workflowType: 'sweep',
      workflowId: 'lilora/pets/sweep',
      taskQueue: 'lilora',
      args: [{ schema: 1, stream: 'pets', prefix: 's3://data/incoming' }],
      staticSummary: 'Sweep s3://data/incoming for stream pets',
    });
    expect(state).toMatchObject({ paused: false, note: 'Sweep s3://data/incoming for stream pets' });
    expect(memo).toEqual({ kind: 'sweep', stream: 'pets', prefix: 's3://data/incoming' });
  });

  it('works on all streams without one', () => {
    const { scheduleId, action } = scheduleOptions({ kind: 'compact', input: { apply: true } });
    expect(scheduleId).toBe('lilora/compact');
    expect(action.args).toEqual([{ schema: 1, apply: true }]);
    expect(action.staticSummary).toBe('Compact all streams');
    expect(scheduleOptions({ kind: 'compact', input: {} }).action.staticSummary).toBe('Compact all streams (dry run)');
  });

  it('lets no more than one missed run lie within its catch-up window', () => {
    const { spec, policies } = sweep({ every: 6 * HOUR });
    expect(spec.jitter).toBe(10 * 60_000);
    expect(policies!.catchupWindow).toBe(6 * HOUR - 10 * 60_000);
    // A tenth of a short interval, and never less than the server takes.
    expect(sweep({ every: 60_000 })).toMatchObject({ spec: { jitter: 6000 }, policies: { catchupWindow: 54_000 } });
    expect(sweep({ every: 1000 })).toMatchObject({ spec: { jitter: 0 }, policies: { catchupWindow: 10_000 } });
    expect(sweep({ cron: '0 3 * * *' }).spec).toEqual({ cronExpressions: ['0 3 * * * # cron 0 3 * * *'], jitter: 0 });
    expect(sweep({ every: HOUR, catchUp: 5, jitter: 7 })).toMatchObject({
      spec: { jitter: 7 },
      policies: { catchupWindow: 5 },
    });
  });

  it('has policies for each kind, and others on request', () => {
    const policiesOf = (kind: ScheduleRequest['kind']) => scheduleOptions({ kind, stream: 'pets', input: {} }).policies;
    expect(policiesOf('sweep')).toMatchObject({ overlap: 'BUFFER_ONE', pauseOnFailure: true });
    expect(policiesOf('drift-watch')).toMatchObject({ overlap: 'SKIP', pauseOnFailure: false });
    expect(policiesOf('compact')).toMatchObject({ overlap: 'SKIP', pauseOnFailure: true });
    expect(sweep({ overlap: 'allow-all', pauseOnFailure: false }).policies).toMatchObject({
      overlap: 'ALLOW_ALL',
      pauseOnFailure: false,
    });
  });

  it('refuses names that would not be safe in an id', () => {
    expect(() => sweep({ name: 'a/b' })).toThrow(/"a\/b" is no name/);
    expect(() => sweep({ stream: 'Pets' })).toThrow(/"Pets" is no name/);
  });
});

describe('a list of schedules that is late', () => {
  const description = {
    action: { workflowType: 'sweep', args: [] },
    info: { recentActions: [], nextActionTimes: [] },
    policies: { catchupWindow: 60_000, pauseOnFailure: true },
    spec: { intervals: [{ every: HOUR }] },
    state: { paused: false },
  };
  /** Of a server that lists `listed` while it has `known`. */
  const clientOf = (listed: readonly string[], known: readonly string[]) =>
    ({
      schedule: {
        list: () => listed.map((name) => ({ scheduleId: `lilora/${name}` })),
        getHandle: (id: string) => ({
          describe: async () => {
            if (!known.includes(id.replace('lilora/', ''))) throw new ScheduleNotFoundError('not found', id);
            return description;
          },
        }),
      },
    }) as unknown as Client;

  it('shows no schedule that is deleted', async () => {
    const lines = await listSchedules(clientOf(['pets/sweep', 'pets/deleted'], ['pets/sweep']));
    expect(lines.map(({ schedule }) => schedule)).toEqual(['pets/sweep']);
  });

  it('hides nothing of one that was made a moment ago', async () => {
    const made = { schedule: 'pets/sweep', kind: 'sweep', stream: 'pets', cadence: 'every 1h' };
    expect(await describeSchedule(clientOf([], ['pets/sweep']), 'pets/sweep')).toMatchObject(made);
    await expect(describeSchedule(clientOf([], []), 'pets/sweep')).rejects.toThrow(/There is no schedule pets\/sweep/);
  });
});
