/** Counts different texts, of each split apart, as long as they are few enough; then only those that it knows. */
export class MostCommon<T> {
  private readonly found = new Map<string, { readonly value: T; readonly counts: number[] }>();
  private readonly limit: number;
  /** Whether there were more than `limit`. */
  full = false;

  /** @param limit different ones that are kept apart */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** @param key what makes two the same; @param group from 0 on */
  add(key: string, value: T, group = 0): void {
    let entry = this.found.get(key);
    if (!entry) {
      if (this.found.size >= this.limit) {
        this.full = true;
        return;
      }
      entry = { value, counts: [] };
      this.found.set(key, entry);
    }
    entry.counts[group] = (entry.counts[group] ?? 0) + 1;
  }

  /** The commonest over all groups. @param groups how many counts each has */
  top(most: number, groups = 1): { readonly value: T; readonly counts: number[] }[] {
    const sum = (counts: readonly number[]) => counts.reduce((a, b) => a + (b ?? 0), 0);
    return [...this.found.values()]
      .sort((a, b) => sum(b.counts) - sum(a.counts))
      .slice(0, most)
      .map(({ value, counts }) => ({ value, counts: Array.from({ length: groups }, (_, i) => counts[i] ?? 0) }));
  }

  /** Different ones of a group. */
  distinct(group = 0): number {
    let count = 0;
    for (const { counts } of this.found.values()) if (counts[group]) count++;
    return count;
  }

  /** How many there are in other groups of what never stands in `group`. */
  without(group: number): number {
    let count = 0;
    for (const { counts } of this.found.values()) if (!counts[group]) count += counts.reduce((a, b) => a + (b ?? 0), 0);
    return count;
  }
}
