import { type Problems, quote } from '../problems.ts';
import type { Unread } from './fields.ts';

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

  private readonly unknowns = new Map<string, Seen & { readonly name: string; readonly place: string }>();

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

  /** A key of which nothing is known. @param place where it may be put besides, in words */
  unknown({ key, name, value }: Unread, where: string, place: string): void {
    const seen = this.unknowns.get(key);
    if (seen) seen.samples++;
    else this.unknowns.set(key, { name, where, place, example: quote(value, 60), samples: 1 });
  }

  /** Hands everything over, at the end of the file. */
  tell(): void {
    this.tellUnknown();
    for (const { key, why, samples, where } of this.left.values()) this.problems.leaveOut(key, why, samples, where);
    for (const [what, { where, example, samples }] of this.refused) {
      const number = samples > 1 ? ` (${samples} samples of this file)` : '';
      this.problems.add(where, `${what}${example === null ? '' : `; it holds ${example}`}${number}`);
    }
  }

  /** All of them at once: one line in dataset.json mends it. */
  private tellUnknown(): void {
    const [first, second] = this.unknowns.values();
    if (!first) return;
    const all = [...this.unknowns].slice(0, SHOWN);
    const names = [...new Set([...this.unknowns.values()].map(({ name }) => name))];
    const found = all.map(([key, { example, samples }]) => `${quote(key)} (${example}, in ${samples})`).join(', ');
    const what = second
      ? `keys that no form reads: ${found}${this.unknowns.size > SHOWN ? ', …' : ''}; say "ignore": ${JSON.stringify(names)} in dataset.json if nothing is to be learned from them`
      : `${quote(all[0]![0])} is a key that no form reads; say "ignore": ${JSON.stringify(names)} in dataset.json if nothing is to be learned from it`;
    const holds = second
      ? ''
      : `; it holds ${first.example}${first.samples > 1 ? ` (${first.samples} samples of this file)` : ''}`;
    const place =
      second && first.place !== ''
        ? `; "columns": {"input": …} gives one a place that the question is about`
        : first.place;
    this.problems.add(first.where, `${what}${place}${holds}`);
  }
}

/** Unknown keys that are shown with an example. */
const SHOWN = 20;
/** Messages that are kept apart in one file; further ones are told one by one. */
const MOST = 200;
