/** Counts different things, as long as they are few enough; then only those that it knows. */
export class MostCommon<T> {
  private readonly found = new Map<string, { readonly value: T; count: number }>();
  private readonly limit: number;
  /** Whether there were more than `limit`. */
  full = false;

  /** @param limit different ones that are kept apart */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** @param key what makes two the same */
  add(key: string, value: T): void {
    const entry = this.found.get(key);
    if (entry) entry.count++;
    else if (this.found.size < this.limit) this.found.set(key, { value, count: 1 });
    else this.full = true;
  }

  /** Different ones that are kept apart. */
  get distinct(): number {
    return this.found.size;
  }

  count(key: string): number {
    return this.found.get(key)?.count ?? 0;
  }

  *[Symbol.iterator](): Generator<{ readonly key: string; readonly value: T; readonly count: number }> {
    for (const [key, entry] of this.found) yield { key, ...entry };
  }

  /** The commonest first. */
  top(most: number): { readonly key: string; readonly value: T; readonly count: number }[] {
    return [...this].sort((a, b) => b.count - a.count).slice(0, most);
  }
}
