import { describe, expect, it } from 'vitest';
import { compactDetails, driftDetails, driftMessage, sweepDetails } from './schedule-details.ts';

const place = { stream: 'pets', prefix: 's3://data/in' };
const measurement = {
  task: 'dogs',
  generation: 3,
  dataset: { uri: 's3://data/fresh', digest: 'd' },
  published: 92,
  now: 61.46,
  count: 200,
  noise: 12.3,
  over: true,
  measuredAt: '2030-01-02T03:04:05.000Z',
};

describe('current details', () => {
  it('of a sweep count, and let no text of others become markup', () => {
    const text = sweepDetails(
      place,
      {
        datasets: [
          { uri: 's3://data/in/a', digest: 'a', task: 'a', status: 'queued', duplicate: false },
          {
            uri: 's3://data/in/b',
            digest: 'b',
            task: null,
            status: 'refused',
            duplicate: false,
            message: 'x <b>\n# z',
          },
        ],
        left: 4,
        known: 7,
      },
      3,
    );
    expect(text).toContain('**1 submitted**, **1 refused**, 7 known, 1 to go, 4 left for the next run');
    expect(text.split('\n').at(-2)).toBe('- **a** queued: s3://data/in/a');
    expect(text.split('\n').at(-1)).toBe('- refused: s3://data/in/b. x \\<b\\> \\# z');
  });

  it('of a drift watch say first what a person has to know', () => {
    const tests = { generation: 3, fresh: [], history: [] };
    const report = { generation: 3, limit: 5, measured: [measurement], unmeasured: [] };
    expect(driftDetails(place, report, tests, '')).toMatch(/^\*\*Drift: dogs\*\*\. Stream \*\*pets\*\*/);
    const steady = { ...report, measured: [{ ...measurement, over: false }] };
    expect(driftDetails(place, steady, tests, '')).toMatch(/^No drift\./);
    expect(driftDetails(place, { ...report, measured: [] }, null, '')).toMatch(/^Nothing is published yet\./);
    expect(driftMessage('pets', 5, [measurement])).toContain(
      'Task dogs scores 61.5 on s3://data/fresh; it was published with 92.0.',
    );
  });

  it('of a compaction say whether anything went', () => {
    const removed = [{ kind: 'caches', count: 3, bytes: 1_234_567 }];
    const result = { bytes: 1_234_567, streams: 1, parts: [{ stream: null, removed, report: 'compactions/r.json' }] };
    const settings = { keepGenerations: 10, taskDays: 7, cacheDays: 30, cacheBytes: 1e10, uploadDays: 2 };
    expect(compactDetails({ ...result, applied: false }, settings)).toMatch(/^\*\*Dry run: 1\.2 MB would go\*\*/);
    expect(compactDetails({ ...result, applied: true }, settings)).toMatch(/^\*\*1\.2 MB removed\*\*/);
  });
});
