import { fixed, type LossCurve } from './generation-view.ts';
import { type Html, html } from './markup.ts';

const WIDTH = 360;
const HEIGHT = 170;
const EDGE = { left: 40, right: 10, top: 10, bottom: 24 };
/** More points than this are thinned: nobody sees them, and the file stays small. */
const POINTS = 600;

/** Training loss against steps as inline SVG: every step faint, a running mean on top. */
export function lossFigure({ task, points }: LossCurve): Html {
  const good = points.filter(({ step, loss }) => Number.isFinite(step) && Number.isFinite(loss));
  const [first, last] = [good[0], good.at(-1)];
  if (!first || !last || good.length < 2)
    return html`<figure><figcaption>${task}: no training log.</figcaption></figure>`;
  const top = ceiling(Math.max(...good.map(({ loss }) => loss)));
  const span = last.step - first.step || 1;
  const x = (step: number) => EDGE.left + ((step - first.step) / span) * (WIDTH - EDGE.left - EDGE.right);
  const y = (loss: number) => HEIGHT - EDGE.bottom - (Math.max(0, loss) / top) * (HEIGHT - EDGE.top - EDGE.bottom);
  const path = (series: LossCurve['points']) =>
    thin(series)
      .map(({ step, loss }, i) => `${i === 0 ? 'M' : 'L'}${x(step).toFixed(1)} ${y(loss).toFixed(1)}`)
      .join('');
  const summary = `Training loss of ${task}: ${fixed(first.loss, 3)} at step ${first.step}, ${fixed(last.loss, 3)} at step ${last.step}`;
  return html`<figure><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${summary}">
${[0, 0.5, 1].map((part) => html`<line class="grid" x1="${EDGE.left}" x2="${WIDTH - EDGE.right}" y1="${y(top * part)}" y2="${y(top * part)}"/><text x="${EDGE.left - 6}" y="${y(top * part) + 4}" text-anchor="end">${tick(top * part)}</text>`)}
<text x="${EDGE.left}" y="${HEIGHT - 6}">${first.step}</text><text x="${WIDTH - EDGE.right}" y="${HEIGHT - 6}" text-anchor="end">step ${last.step}</text>
<path class="raw" d="${path(good)}"/><path class="smooth" d="${path(smooth(good))}"/></svg>
<figcaption>${task}: ${fixed(first.loss, 3)} → ${fixed(smooth(good).at(-1)!.loss, 3)} (running mean)</figcaption></figure>`;
}

/** A round number at or above `value`. */
function ceiling(value: number): number {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((n) => n * unit).find((n) => n >= value) ?? value;
}

const tick = (value: number) => String(Number(value.toPrecision(3)));

function thin(points: LossCurve['points']): LossCurve['points'] {
  const every = Math.ceil(points.length / POINTS);
  return points.filter((_, i) => i % every === 0 || i === points.length - 1);
}

/** Exponential running mean over about a twentieth of the run, without the pull towards zero at its start. */
function smooth(points: LossCurve['points']): LossCurve['points'] {
  const keep = 1 - 1 / Math.max(2, points.length / 20);
  let sum = 0;
  let weight = 0;
  return points.map(({ step, loss }) => {
    sum = keep * sum + loss;
    weight = keep * weight + 1;
    return { step, loss: sum / weight };
  });
}
