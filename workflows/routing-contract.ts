/** How a task is chosen for a prompt (learning/routing). */
export type RouterName = 'centroid' | 'lda';

/** Scores when nobody names the task and the router chooses one, all in percent. */
export interface RoutingScores {
  readonly router: RouterName;
  /** Share of the test prompts of all tasks for which it chose the right one. */
  readonly accuracy: number;
  /** Mean score of the tasks. */
  readonly averageScore: number;
  readonly tasks: ReadonlyArray<{ readonly task: string; readonly accuracy: number; readonly score: number }>;
}
