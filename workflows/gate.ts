import type { GateReport, GateSettings, LearnedTask, Matrix } from './contract.ts';

/**
 * The gate's arithmetic: may these scores be published?
 * @param scores of every learned task and, last, of the new one, after training, in percent
 * @param matrix what was published before
 * @param zeroShot score of the base model on the new task
 */
export function judge(
  attempt: string,
  gate: GateSettings,
  learned: readonly LearnedTask[],
  matrix: Matrix,
  scores: readonly number[],
  task: string,
  zeroShot: number,
): GateReport {
  const rows = learned.map(({ task: name }, j) => ({ task: name, before: bestPublished(matrix, j), now: scores[j]! }));
  const worstLoss = Math.max(0, ...rows.map(({ before, now }) => (before === null ? 0 : before - now)));
  const now = scores[learned.length]!;
  const gain = now - zeroShot;
  const verdict = worstLoss > gate.forgettingBudget ? 'over-budget' : gain < gate.minimumGain ? 'no-gain' : 'pass';
  return { attempt, scores: [...rows, { task, before: null, now }], worstLoss, gain, verdict };
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
  return `Task ${worst.task} would fall from ${worst.before!.toFixed(1)} to ${worst.now.toFixed(1)}; the forgetting budget is ${gate.forgettingBudget} points.`;
}
