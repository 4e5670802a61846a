/**
 * Points that a score may differ by from another of the same task by chance: so many standard errors of the difference
 * between two means (two-proportion z-test, pooled). Scores of samples lie between 0 and 100, so their variance is at
 * most p(100 − p) (Bhatia and Davis, 2000): the estimate is on the safe side for soft scores. Metrics that exceed 100
 * (CIDEr) have no such bound: then it is no more than a guide.
 * @param a score in percent and number of samples; null where that is unknown: then as many as `b` has
 */
export function noiseOf(
  a: { readonly score: number; readonly count: number | null },
  b: { readonly score: number; readonly count: number },
  standardErrors: number,
): number {
  const count = a.count ?? b.count;
  const pooled = (a.score * count + b.score * b.count) / (count + b.count);
  const p = Math.min(100, Math.max(0, pooled));
  return standardErrors * Math.sqrt(p * (100 - p) * (1 / count + 1 / b.count));
}

/**
 * Standard error of a score that was measured on some samples of a split, as an estimate of the whole split's: the
 * variance of scores between 0 and 100 is at most p(100 − p) (Bhatia and Davis, 2000), drawn without replacement. For
 * metrics that exceed 100 (CIDEr) it is no more than a guide.
 * @param score in percent
 */
export function standardError(score: number, count: number, of: number): number {
  if (count >= of) return 0;
  const p = Math.min(100, Math.max(0, score));
  return Math.sqrt(((p * (100 - p)) / count) * ((of - count) / (of - 1)));
}
