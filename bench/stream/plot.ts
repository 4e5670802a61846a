import type { Line } from './tables.ts';

const WIDTH = 720;
const HEIGHT = 440;
const EDGE = { left: 52, right: 150, top: 16, bottom: 44 };

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
    `<text x="14" y="${EDGE.top + 8}" >AP</text>`,
  );
  // Names of points at one place stand below each other.
  const taken: Array<readonly [number, number]> = [];
  for (const { run, perTask, AP } of [...lines].sort((a, b) => b.AP - a.AP)) {
    const [at, height] = [x(perTask), y(AP)];
    let label = height + 4;
    while (taken.some(([other, line]) => Math.abs(other - at) < 90 && Math.abs(line - label) < 13)) label += 13;
    taken.push([at, label]);
    const colour = /^(anchored|safe|paper|released)/.test(run) ? '#b5431f' : '#2b5f8a';
    parts.push(
      `<circle cx="${at.toFixed(1)}" cy="${height.toFixed(1)}" r="4" fill="${colour}"/>`,
      `<text x="${(at + 9).toFixed(1)}" y="${label.toFixed(1)}" fill="${colour}">${run}</text>`,
    );
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12"><rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>${parts.join('\n')}</svg>\n`;
}
