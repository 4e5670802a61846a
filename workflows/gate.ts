import type { GateReport, LearnedTask, Matrix, Sampled } from './contract.ts';
import type { GateSettings } from './definition-contract.ts';
import { standardError } from './drift.ts';

/**
 * The gate's arithmetic: may these scores be published?
 * @param evaluated every learned task and, last, the new one, after training; scores in percent
 * @param matrix what was published before
 * @param zeroShot score of the base model on the new task
 */
export function judge(
  attempt: string,
  gate: GateSettings,
  learned: readonly LearnedTask[],
  matrix: Matrix,
  evaluated: ReadonlyArray<{ readonly score: number; readonly count: number }>,
  task: string,
  zeroShot: number,
): GateReport {
  const rows = learned.map(({ task: name, samples }, j) => ({
    ...{ task: name, before: bestPublished(matrix, j), now: evaluated[j]!.score },
    ...sampledOf(evaluated[j]!, samples),
  }));
  const worstLoss = Math.max(0, ...rows.map(({ before, now }) => (before === null ? 0 : before - now)));
  const now = evaluated[learned.length]!.score;
  const gain = now - zeroShot;
  const verdict = worstLoss > gate.forgettingBudget ? 'over-budget' : gain < gate.minimumGain ? 'no-gain' : 'pass';
  return { attempt, scores: [...rows, { task, before: null, now }], worstLoss, gain, verdict };
}

/** How an earlier task was measured, where some samples stood for its test split. */
function sampledOf(
  { score, count }: { readonly score: number; readonly count: number },
  of: number | undefined,
): { sampled?: Sampled } {
  return of !== undefined && count < of
    ? { sampled: { count, of, standardError: standardError(score, count, of) } }
    : {};
}

/** The best score that any published generation had on task `j`; null before it was learned. */
function bestPublished(matrix: Matrix, j: number): number | null {
  const column = matrix.rows.map((row) => row[j]).filter((score) => score !== undefined);
  return column.length > 0 ? Math.max(...column) : null;
}

/** A readable reason for people: what was lost, or what was not gained. */
export function explain(report: GateReport, gate: GateSettings): string {
  if (report.verdict === 'no-gain')
    return `The task gained ${report.gain.toFixed(1)} points over the base model; at least ${gate.minimumGain} are required.`;
  const worst = report.scores
    .filter(({ before }) => before !== null)
    .reduce((a, b) => (b.before! - b.now > a.before! - a.now ? b : a));
  const { sampled } = worst;
  const error = sampled
    ? ` (± ${sampled.standardError.toFixed(1)}, on ${sampled.count} of ${sampled.of} test samples)`
    : '';
  return `Task ${worst.task} would fall from ${worst.before!.toFixed(1)} to ${worst.now.toFixed(1)}${error}; the forgetting budget is ${gate.forgettingBudget} points.`;
}
