import type { CostNumbers } from '../core/cost.ts';
import { bytes, fixed } from './generation-view.ts';
import { type Html, html } from './markup.ts';

/** What a generation cost, task by task, and its stream so far. */
export interface CostView {
  /** Null when the stream has no price table. */
  readonly currency: string | null;
  readonly tasks: ReadonlyArray<CostNumbers & { readonly task: string; readonly storedBytes: number }>;
  /** More than the sum of the tasks when some were never published. */
  readonly stream: CostNumbers;
}

/** Heads of the columns that every table of costs has. */
export const COST_HEADS = ['useful GPU-s', 'billed GPU-s', 'billed/useful', 'read', 'written', 'money'] as const;

/** The cells below them. */
export function costCells(numbers: CostNumbers, currency: string | null): string[] {
  const { usefulSeconds, billedSeconds, bytesRead, bytesWritten, money } = numbers;
  return [
    fixed(usefulSeconds),
    fixed(billedSeconds),
    fixed(usefulSeconds > 0 ? billedSeconds / usefulSeconds : null, 2),
    bytes(bytesRead),
    bytes(bytesWritten),
    moneyText(money, currency),
  ];
}

/** Three digits and the currency, or that it is not known. */
export function moneyText(money: number | null, currency: string | null): string {
  return money === null || currency === null ? 'unknown' : `${Number(money.toPrecision(3))} ${currency}`;
}

const HEADS = ['', ...COST_HEADS, 'stored'];
const rows = ({ tasks, stream, currency }: CostView) => [
  ...tasks.map((task) => [task.task, ...costCells(task, currency), bytes(task.storedBytes)]),
  ['stream so far', ...costCells(stream, currency), bytes(tasks.reduce((sum, task) => sum + task.storedBytes, 0))],
];
const RULE =
  'Useful: the engine worked on what was kept. Billed: attempts, lost ones too, and the worker\u2019s life before each step. ' +
  'Publishing itself and the idle end of a worker are left out; stored are banks and adapters.';

/** The section of the report; nothing for generations that do not know. */
export function costSection(view: CostView | null | undefined): Html {
  if (!view) return html``;
  return html`<section><h2>What it cost</h2><p class="soft">${RULE}</p>
<div class="scroll"><table><thead><tr>${HEADS.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
<tbody>${rows(view).map(([title, ...cells]) => html`<tr><th scope="row">${title}</th>${cells.map((cell) => html`<td class="number">${cell}</td>`)}</tr>`)}</tbody></table></div></section>`;
}

/** The section of the model card, as Markdown blocks. @param protect for text of others */
export function costBlocks(view: CostView | null | undefined, protect: (text: string) => string): string[] {
  if (!view) return [];
  const line = (cells: readonly string[]) => `| ${cells.map(protect).join(' | ')} |`;
  const table = [line(HEADS), `| --- |${' ---: |'.repeat(HEADS.length - 1)}`, ...rows(view).map(line)].join('\n');
  return ['## What it cost', table, RULE];
}
