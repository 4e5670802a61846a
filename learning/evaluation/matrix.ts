/**
 * Scores in percent: `zeroShot[j]` is a(0,j) of the base model, `rows[i][j]` (j ≤ i, counted from 0) is a(i,j), the score
 * of task j after learning task i.
 */
export interface AccuracyMatrix {
  readonly tasks: readonly string[];
  readonly zeroShot: readonly number[];
  readonly rows: ReadonlyArray<readonly number[]>;
}

/** The summary numbers of continual learning; null where there are too few tasks for one, or it was not measured. */
export interface Metrics {
  /** (1/T) Σ_j a(T,j): LiLoRA's and SMoLoRA's AP. */
  readonly AP: number | null;
  /** The same without the tasks of `captions`, whose CIDEr has another scale. */
  readonly APWithoutCaptions: number | null;
  /** (1/T) Σ_t AP_t. */
  readonly MAP: number | null;
  /** (1/(T−1)) Σ_{j<T} a(T,j) − a(j,j) (GEM, arXiv 1706.08840). */
  readonly BWT: number | null;
  /** (1/(T−1)) Σ_{j<T} max_i a(i,j) − a(T,j) (Chaudhry et al., arXiv 1801.10112), the last row among i: never negative. */
  readonly forgetting: number | null;
  /** (1/(T−1)) Σ_{j≥2} a(j−1,j) − a(0,j). */
  readonly FWT: number | null;
  /** (1/T) Σ_j a(j,j): how well each task was learned. */
  readonly MFT: number | null;
  /** Mean share of answers in the required form, on the final model. */
  readonly MIF: number | null;
}

/**
 * The matrix without a task. Its row goes; when it was the last one, the row before is what its scores were: the other
 * tasks on the bank as it is now.
 */
export function withoutTask({ tasks, zeroShot, rows }: AccuracyMatrix, task: string): AccuracyMatrix {
  const at = tasks.indexOf(task);
  const without = <T>(list: readonly T[]) => list.filter((_, i) => i !== at);
  const left = without(rows).map(without);
  if (at === rows.length - 1 && left.length > 0) left[left.length - 1] = without(rows.at(-1)!);
  return { tasks: without(tasks), zeroShot: without(zeroShot), rows: left };
}

const mean = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;

/** AP_t after every task: the mean over the tasks learned by then. */
export const stageAverages = ({ rows }: AccuracyMatrix): number[] => rows.map((row) => mean(row)!);

/**
 * The summary of a matrix, in percent points.
 * @param instructionFollowing per task, on the last row's model, in percent
 * @param more `captions`: names of tasks scored by CIDEr; `forward[j]`: a(j−1,j) for j ≥ 1 where it was measured
 */
export function metrics(
  matrix: AccuracyMatrix,
  instructionFollowing: readonly number[],
  more: { readonly captions?: readonly string[]; readonly forward?: ReadonlyArray<number | null> } = {},
): Metrics {
  const { tasks, zeroShot, rows } = matrix;
  const last = rows.at(-1) ?? [];
  const earlier = last.slice(0, -1);
  const best = (j: number) => Math.max(...rows.slice(j).map((row) => row[j]!));
  const forward = (more.forward ?? []).slice(1, rows.length);
  const measured = forward.length === rows.length - 1 && forward.every((score) => score !== null);
  return {
    AP: mean(last),
    APWithoutCaptions: mean(last.filter((_, j) => !more.captions?.includes(tasks[j]!))),
    MAP: mean(stageAverages(matrix)),
    BWT: mean(earlier.map((score, j) => score - rows[j]![j]!)),
    forgetting: mean(earlier.map((score, j) => best(j) - score)),
    FWT: measured ? mean(forward.map((score, i) => score! - zeroShot[i + 1]!)) : null,
    MFT: mean(rows.map((row, i) => row[i]!)),
    MIF: mean(instructionFollowing),
  };
}
