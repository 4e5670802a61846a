import type { Distribution } from '../../core/dataset-view.ts';

/** Bars of a figure, about. */
const BARS = 24;
/** Values above this one are kept to three digits, so that few thousand numbers hold any distribution. */
const EXACT = 2000;

const toDigits = (value: number) => (value <= EXACT ? value : Number(value.toPrecision(3)));

/** Counts whole numbers from 0 on, in bounded memory. */
export class Tally {
  private readonly counts = new Map<number, number>();
  private count = 0;
  private sum = 0;
  private min = Number.POSITIVE_INFINITY;
  private max = 0;

  add(value: number): void {
    const kept = toDigits(value);
    this.counts.set(kept, (this.counts.get(kept) ?? 0) + 1);
    this.count++;
    this.sum += value;
    this.min = Math.min(this.min, value);
    this.max = Math.max(this.max, value);
  }

  /** Null when nothing was counted. */
  view(): Distribution | null {
    const { count, min, max } = this;
    if (count === 0) return null;
    const values = [...this.counts].sort(([a], [b]) => a - b);
    const at = (share: number) => {
      let seen = 0;
      for (const [value, times] of values) {
        seen += times;
        if (seen >= share * count) return Math.min(Math.max(value, min), max);
      }
      return max;
    };
    return {
      count,
      min,
      max,
      mean: this.sum / count,
      median: at(0.5),
      p95: at(0.95),
      bars: bars(values, at(0.99), max),
    };
  }
}

/** Bars of a round width up to what few exceed; these stand in the last one. */
function bars(values: ReadonlyArray<readonly [number, number]>, most: number, max: number): Distribution['bars'] {
  const first = values[0]![0];
  const width = roundUp((most - first + 1) / BARS);
  const start = Math.floor(first / width) * width;
  const counts = new Array<number>(Math.floor((most - start) / width) + 1).fill(0);
  for (const [value, times] of values)
    counts[Math.min(counts.length - 1, Math.floor((value - start) / width))]! += times;
  return counts.map((count, i) => {
    const from = start + i * width;
    return { from, to: i === counts.length - 1 ? Math.max(from + width, max + 1) : from + width, count };
  });
}

/** The next of 1, 2, 5, 10, 20, … */
function roundUp(value: number): number {
  let unit = 1;
  while (unit * 10 < value) unit *= 10;
  return [1, 2, 5, 10].map((times) => times * unit).find((each) => each >= value)!;
}
