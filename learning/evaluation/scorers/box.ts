/** Left, top, right, bottom. */
export type Box = readonly [number, number, number, number];

const NUMBER = /[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?/i;
const FOUR = new RegExp(Array<string>(4).fill(`(${NUMBER.source})`).join('\\s*,\\s*'), 'i');

/** The first four numbers with commas between them, right of left and below top; null without any. */
export function boxOf(text: string): Box | null {
  const found = FOUR.exec(text);
  if (!found) return null;
  const box = found.slice(1).map(Number) as [number, number, number, number];
  return box[2] > box[0] && box[3] > box[1] ? box : null;
}

/**
 * A box as CoIN's `eval_grounding.py` reads an answer: without brackets, then without its first and last character, whatever
 * they are (the last digit of `0.50` among them); null unless exactly four numbers remain.
 */
export function releasedBox(text: string): Box | null {
  const bare = text.replace(/^ /, '').replaceAll(/[[\]]/g, '').slice(1, -1);
  const parts = bare.split(',').map((part) => part.trim());
  const whole = new RegExp(`^${NUMBER.source}$`, 'i');
  return parts.length === 4 && parts.every((part) => whole.test(part)) ? (parts.map(Number) as unknown as Box) : null;
}

/** Intersection over union; 0 for boxes without area. */
export function overlap(a: Box, b: Box): number {
  const side = (from: 0 | 1, to: 2 | 3) => Math.max(0, Math.min(a[to], b[to]) - Math.max(a[from], b[from]));
  const area = (box: Box) => (box[2] - box[0]) * (box[3] - box[1]);
  const shared = side(0, 2) * side(1, 3);
  const union = area(a) + area(b) - shared;
  return union > 0 ? shared / union : 0;
}
