import type { Distribution, PicturesView } from '../../core/dataset-view.ts';
import { type Html, html } from '../markup.ts';

const WIDTH = 360;
const HEIGHT = 150;
const EDGE = { left: 8, right: 8, top: 16, bottom: 22 };

export const whole = (value: number) => Math.round(value).toLocaleString('en');

/** A distribution as bars. @param title of the figure; @param unit in the plural, as `tokens` */
export function barFigure(title: string, distribution: Distribution | null, unit: string): Html {
  if (!distribution) return html`<figure><figcaption>${title}: nothing to measure.</figcaption></figure>`;
  const { bars, min, max, median, p95 } = distribution;
  if (min === max)
    return html`<figure><figcaption><strong>${title}</strong>: always ${whole(min)} ${unit}</figcaption></figure>`;
  const most = Math.max(...bars.map(({ count }) => count));
  const width = (WIDTH - EDGE.left - EDGE.right) / bars.length;
  const tall = HEIGHT - EDGE.top - EDGE.bottom;
  const floor = HEIGHT - EDGE.bottom;
  const [first, last] = [bars[0]!, bars.at(-1)!];
  const facts = `median ${whole(median)}, 95 % up to ${whole(p95)}, at most ${whole(max)} ${unit}`;
  const step = bars.length > 1 ? bars[1]!.from - first.from : last.to - last.from;
  const open = last.to - last.from > step;
  return html`<figure><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}: from ${whole(min)}, ${facts}">
<line class="grid" x1="${EDGE.left}" x2="${WIDTH - EDGE.right}" y1="${floor + 0.5}" y2="${floor + 0.5}"/>
${bars.map(({ from, to, count }, i) => {
  const height = count === 0 ? 0 : Math.max(1.5, (count / most) * tall);
  const range = to - from === 1 ? whole(from) : `${whole(from)} to ${whole(to - 1)}`;
  return html`<rect class="column" x="${(EDGE.left + i * width + 0.5).toFixed(1)}" y="${(floor - height).toFixed(1)}" width="${Math.max(1, width - 1).toFixed(1)}" height="${height.toFixed(1)}"><title>${range} ${unit}: ${whole(count)}</title></rect>`;
})}
<text x="${EDGE.left}" y="${HEIGHT - 7}">${whole(first.from)}</text><text x="${WIDTH - EDGE.right}" y="${HEIGHT - 7}" text-anchor="end">${open ? `${whole(last.from)} and more` : whole(last.to - 1)}</text>
<text x="${WIDTH / 2}" y="${HEIGHT - 7}" text-anchor="middle">${unit}</text></svg>
<figcaption><strong>${title}</strong>: ${facts}</figcaption></figure>`;
}

const SIDE = 300;

/** Widths and heights as dots, as large as they are many; both axes by logarithm. */
export function sizesFigure({ cloud, count }: PicturesView): Html {
  const sides = cloud.flatMap(({ width, height }) => [width, height]);
  const [least, most] = [Math.min(...sides) * 0.8, Math.max(...sides) * 1.25];
  const span = Math.log(most / least);
  const along = (value: number) => 34 + (Math.log(value / least) / span) * (SIDE - 44);
  const largest = Math.max(...cloud.map((each) => each.count));
  const ticks = [1, 2, 5]
    .flatMap((times) => [1, 10, 100, 1000, 10_000].map((unit) => times * unit))
    .sort((a, b) => a - b)
    .filter((value) => value > least && value < most);
  const some = ticks.filter((_, i) => i % Math.ceil(ticks.length / 6) === 0);
  const shown = [...cloud].sort((a, b) => b.count - a.count);
  return html`<figure><svg viewBox="0 0 ${SIDE} ${SIDE}" role="img" aria-label="Widths and heights of ${whole(count)} pictures">
<line class="grid" x1="34" y1="${SIDE - 34}" x2="${SIDE - 10}" y2="10"/>
${some.map((value) => html`<text x="${along(value).toFixed(1)}" y="${SIDE - 16}" text-anchor="middle">${value}</text><text x="28" y="${(SIDE - along(value) + 4).toFixed(1)}" text-anchor="end">${value}</text><line class="grid" x1="34" x2="${SIDE - 10}" y1="${(SIDE - along(value)).toFixed(1)}" y2="${(SIDE - along(value)).toFixed(1)}"/><line class="grid" y1="10" y2="${SIDE - 34}" x1="${along(value).toFixed(1)}" x2="${along(value).toFixed(1)}"/>`)}
${shown.map(({ width, height, count: times }) => html`<circle class="dot" cx="${along(width).toFixed(1)}" cy="${(SIDE - along(height)).toFixed(1)}" r="${(2.5 + 9 * Math.sqrt(times / largest)).toFixed(1)}"><title>about ${width} × ${height}: ${whole(times)}</title></circle>`)}
<text x="${SIDE / 2}" y="${SIDE - 2}" text-anchor="middle">width in pixels</text><text x="10" y="${SIDE / 2}" text-anchor="middle" transform="rotate(-90 10 ${SIDE / 2})">height</text></svg>
<figcaption><strong>Widths and heights</strong>, larger dots for more pictures; the line is square</figcaption></figure>`;
}
