import { fixed, type MatrixView, METRIC_NAMES, METRICS, type MetricValues, signed } from './generation-view.ts';
import { visible } from './markup.ts';
import { mean } from './matrix-table.ts';

/** Text of others on a terminal: no escape sequences, one line. */
export function plain(text: string): string {
  return visible(text.replace(/[\r\n\t]+/g, ' '));
}

/** Rows as aligned columns, the first row as head. Numbers are aligned to the right. */
export function table(rows: ReadonlyArray<readonly string[]>, indent = ''): string {
  const cells = rows.map((row) => row.map(plain));
  const widths = (cells[0] ?? []).map((_, i) => Math.max(...cells.map((row) => width(row[i] ?? ''))));
  const numeric = widths.map((_, i) => i > 0 && cells.slice(1).every((row) => /^[−+]?[\d.,]*$|^–$/.test(row[i] ?? '')));
  return cells
    .map((row) =>
      (
        indent +
        widths
          .map((w, i) => {
            const cell = row[i] ?? '';
            const fill = ' '.repeat(w - width(cell));
            return numeric[i] ? fill + cell : cell + fill;
          })
          .join('  ')
      ).trimEnd(),
    )
    .join('\n');
}

/** Columns that a text takes: wide characters (East Asian, emoji) take two, combining marks none. */
function width(text: string): number {
  let columns = 0;
  for (const c of text) {
    if (/\p{Mark}/u.test(c)) continue;
    columns += /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}]/u.test(c)
      ? 2
      : 1;
  }
  return columns;
}

/** The accuracy matrix: one line per step, one column per task, then their average. */
export function matrixText({ tasks, zeroShot, rows }: MatrixView): string {
  if (tasks.length === 0) return 'nothing learned yet';
  const line = (title: string, row: readonly number[]) => [
    title,
    ...tasks.map((_, j) => (row[j] === undefined ? '' : fixed(row[j]))),
    fixed(mean(row)),
  ];
  return table([
    ['after learning', ...tasks, 'average'],
    line('(base model)', zeroShot),
    ...rows.map((row, i) => line(tasks[i] ?? '', row)),
  ]);
}

/** The summary numbers, one a line, with what each is. */
export function metricsText(metrics: MetricValues): string {
  return table(
    METRIC_NAMES.map((name) => [
      name,
      name === 'BWT' || name === 'FWT' ? signed(metrics[name]) : fixed(metrics[name]),
      METRICS[name].title.toLowerCase(),
    ]),
  );
}
