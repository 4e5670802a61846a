import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Random } from '../learning/training/random.ts';

/** One row of the handwritten digits (examples/digits/README.md). */
export interface Digit {
  /** 64 values 0..16, row-major. */
  readonly ink: readonly number[];
  readonly label: number;
}

/** Rows that pre-training sees; the digit task has all others. */
const FOR_PRETRAINING = 400;

/** The rows in two fixed parts that share no row. */
export function readDigits(): { pretraining: Digit[]; task: Digit[] } {
  const file = fileURLToPath(new URL('./digits/optdigits-test.csv', import.meta.url));
  const rows = readFileSync(file, 'utf8').trim().split('\n');
  const digits = rows.map((row) => row.split(',').map(Number)).map((n) => ({ ink: n.slice(0, 64), label: n[64]! }));
  const order = [...new Random(1998).permutation(digits.length)].map((i) => digits[i]!);
  return { pretraining: order.slice(0, FOR_PRETRAINING), task: order.slice(FOR_PRETRAINING) };
}
