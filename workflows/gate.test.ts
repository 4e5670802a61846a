import { describe, expect, it } from 'vitest';
import type { LearnedTask, Matrix } from './contract.ts';
import type { GateSettings } from './definition-contract.ts';
import { matrixTable, streamDetails, taskDetails } from './details.ts';
import { explain, judge } from './gate.ts';

const gate: GateSettings = { forgettingBudget: 5, minimumGain: 1, consolidations: [0.5], whenOver: 'safe' };
const learned = (...names: string[]): LearnedTask[] =>
  names.map((task, i) => ({
    task,
    dataset: { uri: `s3://b/${task}`, digest: String(i) },
    metric: 'exact',
    test: { key: task, size: 1, sha256: String(i) },
    generation: i + 1,
  }));
/** Evaluations with these scores, of 200 samples each. */
const scored = (...scores: number[]) => scores.map((score) => ({ score, count: 200 }));
const matrix: Matrix = { tasks: ['a', 'b'], zeroShot: [10, 20], rows: [[80], [76, 90]] };

describe('the gate', () => {
  it('measures loss from the best published score, not from the last', () => {
    const report = judge('trained', gate, learned('a', 'b'), matrix, scored(74.9, 90, 70), 'c', 30);
    expect(report.worstLoss).toBeCloseTo(5.1, 10); // 80 − 74.9, although the last row has 76
    expect(report.verdict).toBe('over-budget');
    expect(explain(report, gate)).toBe('Task a would fall from 80.0 to 74.9; the forgetting budget is 5 points.');
  });

  it('passes exactly at the budget and counts no gain of an earlier task as loss', () => {
    const report = judge('trained', gate, learned('a', 'b'), matrix, scored(75, 95, 70), 'c', 30);
    expect(report).toMatchObject({ worstLoss: 5, gain: 40, verdict: 'pass' });
  });

  it('holds back a task that gains too little, and says so', () => {
    const report = judge('trained', gate, learned('a', 'b'), matrix, scored(80, 90, 30.5), 'c', 30);
    expect(report.verdict).toBe('no-gain');
    expect(explain(report, gate)).toContain('gained 0.5 points');
  });

  it('says which scores some samples stand for, and how sure they are', () => {
    const known = learned('a', 'b').map((task) => ({ ...task, samples: task.task === 'a' ? 801 : 200 }));
    const report = judge('trained', gate, known, matrix, scored(50, 90, 70), 'c', 30);
    // 50 % of 200, of 801: sqrt(2500 / 200 · 601 / 800)
    expect(report.scores[0]!.sampled).toEqual({ count: 200, of: 801, standardError: expect.closeTo(3.0644, 4) });
    expect(report.scores.slice(1).map(({ sampled }) => sampled)).toEqual([undefined, undefined]);
    expect(explain(report, gate)).toBe(
      'Task a would fall from 80.0 to 50.0 (± 3.1, on 200 of 801 test samples); the forgetting budget is 5 points.',
    );
  });

  it('has nothing to lose on the first task', () => {
    const report = judge('trained', gate, [], { tasks: [], zeroShot: [], rows: [] }, scored(50), 'a', 10);
    expect(report).toMatchObject({ worstLoss: 0, gain: 40, verdict: 'pass' });
  });
});

describe('details for the Temporal UI', () => {
  it('shows the matrix with base model row, empty cells and averages', () => {
    expect(matrixTable(matrix).split('\n')).toEqual([
      '| after learning | \u2003a | \u2003b | \u2003average |',
      '| --- | ---: | ---: | ---: |',
      '| _base model_ | 10.0 | 20.0 | 15.0 |',
      '| a | 80.0 |  | 80.0 |',
      '| b | 76.0 | 90.0 | 83.0 |',
    ]);
  });

  it('names what runs, what waits and what went wrong', () => {
    const tasks = [
      { task: 'x', dataset: 's3://b/x', datasetDigest: '1', status: 'refused', message: 'BadDataset: line 3' },
      { task: 'y', dataset: 's3://b/y', datasetDigest: '2', status: 'queued' },
    ] as const;
    const text = streamDetails(null, tasks, true, 'z', null);
    expect(text).toContain('Learning **z** (**paused**); waiting: y');
    expect(text).toContain('- **x** refused: BadDataset: line 3');
    const trouble = { since: '2026-01-02T03:04:05.000Z', message: 'StoreDenied: 403' };
    expect(streamDetails(null, tasks, false, null, trouble)).toContain(
      '**Waiting since 2026-01-02T03:04Z** and trying again: StoreDenied: 403',
    );
  });

  it('shows text of others as text: no link, no picture, no markup, no new line', () => {
    const message =
      'BadDataset: <img src=x onerror=alert(1)>\n# big\n![a](http://evil.example/p.png) [b](javascript:x) `c` **d** &lt;';
    const tasks = [{ task: 'x', dataset: 's3://b/x', datasetDigest: '1', status: 'refused', message }] as const;
    const text = streamDetails(null, tasks, false, null, null);
    expect(text).not.toMatch(/(?<!\\)[<[`#&]|http:\/\/|\n#/);
    expect(text).not.toContain('**d**');
    expect(text).toContain('- **x** refused: BadDataset: \\<img src=x onerror=alert(1)\\> \\# big');
  });

  it('shows progress of a task', () => {
    const text = taskDetails('a', 'train', { step: 5, steps: 10, loss: 0.5 }, [], matrix, null);
    expect(text).toContain('step 5 of 10, loss 0.5000');
  });
});
