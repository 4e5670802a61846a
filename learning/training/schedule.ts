/**
 * Cosine decay with linear warm-up, as `get_cosine_schedule_with_warmup` of transformers counts it except that the first
 * warm-up step already moves: with w = ⌈warmupRatio · steps⌉ the factor of step k (from 0) is (k + 1) / (w + 1) while
 * k < w and ½ (1 + cos(π (k − w) / (steps − w))) from then on.
 * @returns factor on the learning rate, in (0, 1]
 */
export function cosineWithWarmup(step: number, steps: number, warmupRatio: number): number {
  const warmup = Math.min(Math.ceil(warmupRatio * steps), steps);
  if (step < warmup) return (step + 1) / (warmup + 1);
  return 0.5 * (1 + Math.cos((Math.PI * (step - warmup)) / Math.max(1, steps - warmup)));
}
