import { fixed, type MatrixView, signed } from './generation-view.ts';
import { type Html, html } from './markup.ts';

/** The accuracy matrix as a table whose cells are coloured by their score. Off the diagonal, the change since the task was learned. */
export function matrixTable({ tasks, zeroShot, rows }: MatrixView): Html {
  const last = rows.length - 1;
  const cell = (row: readonly number[], j: number, i: number) => {
    const score = row[j];
    if (score === undefined) return html`<td class="none"></td>`;
    const share = Math.min(1, Math.max(0, score / 100)).toFixed(3);
    const learned = rows[j]?.[j];
    const change = i > j && learned !== undefined ? html`<small>${signed(score - learned)}</small>` : '';
    return html`<td class="${i === j ? 'learned' : ''}" style="--share:${share}">${fixed(score)}${change}</td>`;
  };
  const line = (title: Html, row: readonly number[], i: number) =>
    html`<tr><th scope="row">${title}</th>${tasks.map((_, j) => cell(row, j, i))}<td class="average">${fixed(mean(row))}</td></tr>`;
  return html`<div class="scroll"><table class="heat">
<caption>Score in percent of each task (column) on its own test set, after each step (row). Outlined: just learned. Small: change since it was learned.</caption>
<thead><tr><th scope="col">after learning</th>${tasks.map((task) => html`<th scope="col">${task}</th>`)}<th scope="col">average</th></tr></thead>
<tbody>${line(html`nothing <span class="soft">(base model)</span>`, zeroShot, -1)}
${rows.map((row, i) => line(html`${tasks[i]}${i === last ? html` <span class="soft">(now)</span>` : ''}`, row, i))}</tbody></table></div>`;
}

export const mean = (row: readonly number[]): number | null =>
  row.length === 0 ? null : row.reduce((a, b) => a + b, 0) / row.length;
