import type { Problems } from '../problems.ts';

interface Seen {
  readonly where: string;
  readonly example: string | null;
  samples: number;
}

/** Keys that the samples of one file hold and nothing read; each is told once, with the number of samples. */
export class Keys {
  private readonly problems: Problems;
  private readonly refused = new Map<string, Seen>();
  private readonly left = new Map<string, Seen & { readonly key: string; readonly why: 'bookkeeping' | 'ignore' }>();

  constructor(problems: Problems) {
    this.problems = problems;
  }

  leaveOut(key: string, why: 'bookkeeping' | 'ignore', where: string): void {
    const seen = this.left.get(`${why} ${key}`);
    if (seen) seen.samples++;
    else this.left.set(`${why} ${key}`, { key, why, where, example: null, samples: 1 });
  }

  /** @param example of what is meant, from the first sample of which it is told */
  refuse(what: string, where: string, example: string | null = null): void {
    const seen = this.refused.get(what);
    if (seen) seen.samples++;
    else if (this.refused.size < MOST) this.refused.set(what, { where, example, samples: 1 });
    else this.problems.add(where, what);
  }

  /** Hands everything over, at the end of the file. */
  tell(): void {
    for (const { key, why, samples, where } of this.left.values()) this.problems.leaveOut(key, why, samples, where);
    for (const [what, { where, example, samples }] of this.refused) {
      const number = samples > 1 ? ` (${samples} samples of this file)` : '';
      this.problems.add(where, `${what}${example === null ? '' : `; it holds ${example}`}${number}`);
    }
  }
}

/** Messages that are kept apart in one file; further ones are told one by one. */
const MOST = 200;
