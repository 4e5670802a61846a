import { describe, expect, it } from 'vitest';
import { type RoutedTask, routerOf } from './router.ts';
import { readStatistics, statisticsOf, writeStatistics } from './statistics.ts';

const unit = (x: number[]) => x.map((value) => value / Math.hypot(...x));

/** Prompts around a direction of their task, as the NumPy script of the golden numbers makes them. */
const prompts = (t: number) =>
  Array.from({ length: 7 + 2 * t }, (_, i) =>
    unit(
      Array.from(
        { length: 5 },
        (_, k) => Math.sin(1.3 * i + 0.7 * k + 2.1 * t) + (k === t ? 1.5 : 0) + 0.1 * Math.cos(i * k + t),
      ),
    ),
  );
const taskOf = (t: number): RoutedTask => ({ task: 'abc'[t]!, statistics: statisticsOf(prompts(t)) });
const three = [0, 1, 2].map(taskOf);
const asked = unit([0.1, 0.5, -0.3, 0.7, 0.2]);

/** From NumPy: μᵀ Σ⁻¹ x − ½ μᵀ Σ⁻¹ μ with Σ the pooled covariance, shrunk by 0.1; and cosines to the means. */
const GOLDEN = {
  lda: [-3.3220604365622144, 0.4494972867140099, -27.54709432802931],
  centroid: [0.18222762593295622, 0.567065275933865, -0.48498180931542156],
};

describe.each(['lda', 'centroid'] as const)('%s', (kind) => {
  it('gives the scores that NumPy gives', () => {
    for (const [t, score] of routerOf(kind, three).scores(asked).entries())
      expect(score).toBeCloseTo(GOLDEN[kind][t]!, 9);
  });

  it('is the same in whatever order the tasks came, and without a task that was removed', () => {
    const scoresOf = (tasks: readonly RoutedTask[]) => {
      const router = routerOf(kind, tasks);
      const scores = router.scores(asked);
      return new Map(router.tasks.map((task, t) => [task, scores[t]!]));
    };
    const backwards = scoresOf([...three].reverse());
    for (const [task, score] of scoresOf(three)) expect(backwards.get(task)).toBeCloseTo(score, 12);
    // Removal leaves what a router has that never knew the task.
    const kept = three.filter(({ task }) => task !== 'b');
    expect(scoresOf(kept)).toEqual(scoresOf([taskOf(0), taskOf(2)]));
  });

  it('chooses the right task for most prompts, the only one where there is one', () => {
    const router = routerOf(kind, three);
    const right = [0, 1, 2].map((t) => prompts(t).filter((x) => router.choose(x) === 'abc'[t]).length);
    const all = [0, 1, 2].map((t) => prompts(t).length);
    expect(right.reduce((a, b) => a + b) / all.reduce((a, b) => a + b)).toBeGreaterThan(0.6);
    expect(routerOf(kind, [taskOf(1)]).choose(asked)).toBe('b');
  });

  it('works where all prompts of a task are alike, and refuses features of another model', () => {
    const alike = (x: number[]) => statisticsOf([unit(x), unit(x)]);
    const router = routerOf(kind, [
      { task: 'x', statistics: alike([1, 0, 0]) },
      { task: 'y', statistics: alike([0, 1, 0]) },
    ]);
    expect(router.choose(unit([0.9, 0.2, 0]))).toBe('x');
    expect(router.choose(unit([0.2, 0.9, 0]))).toBe('y');
    expect(() => router.scores([1, 0])).toThrow(/2 features for a router of 3/);
    expect(() => routerOf(kind, [])).toThrow(/at least one task/);
    expect(() => routerOf(kind, [taskOf(0), { task: 'x', statistics: alike([1, 0]) }])).toThrow(/one model/);
  });
});

it('lda follows the spread that tasks have, which cosines do not see', () => {
  // Both tasks spread along the first axis; only the second one tells them apart.
  const spread = (second: number) =>
    statisticsOf([-1, -0.6, -0.2, 0.2, 0.6, 1].map((first, i) => [first, second + (i % 2 ? 0.01 : -0.01)]));
  const tasks = [
    { task: 'low', statistics: spread(0.1) },
    { task: 'high', statistics: spread(0.3) },
  ];
  expect(routerOf('lda', tasks).choose([0.9, 0.11])).toBe('low');
  expect(routerOf('lda', tasks).choose([-0.9, 0.29])).toBe('high');
});

describe('statistics', () => {
  it('are the mean and the scatter of the prompts, and come back from their file in float32', () => {
    const statistics = statisticsOf([
      [1, 2],
      [3, 6],
    ]);
    expect(statistics.count).toBe(2);
    expect([...statistics.mean]).toEqual([2, 4]);
    expect([...statistics.scatter.data]).toEqual([2, 4, 4, 8]);
    expect(readStatistics(writeStatistics(statistics), 'file')).toEqual(statistics);
  });

  it('are refused without prompts, and from another file', () => {
    expect(() => statisticsOf([])).toThrow(/without prompts/);
    const { count, scatter } = statisticsOf([[1, 2]]);
    const wrong = { count, mean: new Float64Array(3), scatter };
    expect(() => readStatistics(writeStatistics(wrong), 'x.safetensors')).toThrow(/x\.safetensors holds no router/);
  });
});
