import type { Line } from './tables.ts';

const WIDTH = 720;
const HEIGHT = 480;
const EDGE = { left: 52, right: 150, top: 16, bottom: 44 };
/** Share of a LoRA up to which methods are many: their names stand in one column, beside the points of all of them. */
const CROWDED = 40;

/** Mean AP of every method against the parameters that it keeps per task, of a LoRA: an SVG file. */
export function plot(lines: readonly Line[]): string {
  const most = Math.max(100, ...lines.map(({ perTask }) => perTask));
  const x = (share: number) => EDGE.left + (share / most) * (WIDTH - EDGE.left - EDGE.right);
  const y = (AP: number) => HEIGHT - EDGE.bottom - (AP / 100) * (HEIGHT - EDGE.top - EDGE.bottom);
  const parts: string[] = [];
  for (const AP of [0, 20, 40, 60, 80, 100])
    parts.push(
      `<line x1="${EDGE.left}" x2="${WIDTH - EDGE.right}" y1="${y(AP)}" y2="${y(AP)}" stroke="#ddd"/>`,
      `<text x="${EDGE.left - 8}" y="${y(AP) + 4}" text-anchor="end">${AP}</text>`,
    );
  for (const share of [0, most / 4, most / 2, (3 * most) / 4, most])
    parts.push(`<text x="${x(share)}" y="${HEIGHT - 22}" text-anchor="middle">${Math.round(share)} %</text>`);
  const middle = (EDGE.left + WIDTH - EDGE.right) / 2;
  parts.push(
    `<text x="${middle}" y="${HEIGHT - 4}" text-anchor="middle">parameters per task, of a LoRA</text>`,
    `<text x="14" y="${HEIGHT / 2}">AP</text>`,
  );
  const points = [...lines]
    .sort((a, b) => b.AP - a.AP)
    .map(({ run, perTask, AP }) => ({ run, perTask, x: x(perTask), y: y(AP) }));
  const names = new Map([
    ...stack(points.filter(({ perTask }) => perTask <= CROWDED).map((point) => ({ ...point, left: x(CROWDED) }))),
    ...stack(points.filter(({ perTask }) => perTask > CROWDED).map((point) => ({ ...point, left: point.x + 9 }))),
  ]);
  for (const point of points) {
    const label = names.get(point.run)!;
    const colour = /^(anchored|safe|paper|released)/.test(point.run) ? '#b5431f' : '#2b5f8a';
    const from = `x1="${point.x.toFixed(1)}" y1="${point.y.toFixed(1)}"`;
    if (label.left - point.x > 10 || Math.abs(label.y - point.y) > 8)
      parts.push(`<line ${from} x2="${(label.left - 2).toFixed(1)}" y2="${label.y.toFixed(1)}" stroke="#bbb"/>`);
    parts.push(
      `<circle cx="${point.x.toFixed(1)}" cy="${point.y.toFixed(1)}" r="4" fill="${colour}"/>`,
      `<text x="${label.left.toFixed(1)}" y="${(label.y + 4).toFixed(1)}" fill="${colour}">${point.run}</text>`,
    );
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12"><rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>${parts.join('\n')}</svg>\n`;
}

/** Where the name of a method is: pixels. */
interface Name {
  readonly run: string;
  readonly left: number;
  /** Of its middle. */
  readonly y: number;
}

/** Pixels from one name to the next below it. */
const LINE = 14;

/** Names under one another in their order, each as near to the height of its point as the others leave room. */
function stack(wanted: readonly Name[]): Map<string, Name> {
  const ys = wanted.map(({ y }) => y);
  for (let i = 1; i < ys.length; i++) ys[i] = Math.max(ys[i]!, ys[i - 1]! + LINE);
  for (let i = ys.length - 1, most = HEIGHT - EDGE.bottom; i >= 0; i--, most -= LINE) ys[i] = Math.min(ys[i]!, most);
  return new Map(wanted.map(({ run, left }, i) => [run, { run, left, y: ys[i]! }]));
}
