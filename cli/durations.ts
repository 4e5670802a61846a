import { InvalidArgumentError } from 'commander';

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** For commander: a time such as `90s`, `10m`, `6h` or `7d` in milliseconds, or misuse. */
export function duration(text: string): number {
  const [, amount, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (amount === undefined) throw new InvalidArgumentError('It must be a time such as 90s, 10m, 6h or 7d.');
  return Number(amount) * UNITS[unit as keyof typeof UNITS];
}

/** Milliseconds in the largest unit that leaves no rest: `6h`, `90s`. */
export function durationText(milliseconds: number): string {
  const unit = (['d', 'h', 'm'] as const).find((name) => milliseconds % UNITS[name] === 0) ?? 's';
  return `${milliseconds / UNITS[unit]}${unit}`;
}
