import { fixed } from './generation-view.ts';
import { type Html, html } from './markup.ts';

/** What a generation says of its router. Percent, but for numbers of prompts. */
export interface RoutingView {
  readonly router: string;
  readonly accuracy: number;
  readonly averageScore: number;
  readonly tasks: ReadonlyArray<{
    readonly task: string;
    readonly accuracy: number;
    readonly score: number;
    readonly count: number;
    /** How many of its prompts went to each task; none where it is absent. */
    readonly chosen: Readonly<Record<string, number>>;
  }>;
}

/** How each router chooses, shown wherever its results are. */
const ROUTERS: Readonly<Record<string, string>> = {
  centroid: 'the nearest mean by cosine',
  lda: 'linear discriminant analysis with one covariance for all tasks',
};

const summary = ({ router, accuracy, averageScore }: RoutingView) =>
  `Where nobody names the task, a router (${router}: ${ROUTERS[router] ?? 'unknown'}, on what the base model without adapter makes of a prompt and its images) chooses it: ${fixed(accuracy)} % of the test prompts go to the right task, and the average score is ${fixed(averageScore)}.`;

/** Known and chosen task of every test prompt, and the scores that follow. */
function rows({ tasks }: RoutingView, given: readonly number[]): string[][] {
  return tasks.map(({ task, accuracy, score, chosen }, j) => [
    task,
    fixed(given[j]),
    fixed(score),
    fixed(accuracy),
    ...tasks.map((other) => String(Object.hasOwn(chosen, other.task) ? chosen[other.task] : 0)),
  ]);
}

const head = ({ tasks }: RoutingView) => [
  'prompts of',
  'score, task given',
  'score, routed',
  'routed right (%)',
  ...tasks.map(({ task }) => `to ${task}`),
];

/** @param given scores with the task given */
export function routingSection(routing: RoutingView | undefined, given: readonly number[]): Html {
  if (!routing) return html``;
  const [first, ...rest] = head(routing);
  return html`<section><h2>Without the task given</h2><p>${summary(routing)}</p>
<div class="scroll"><table><thead><tr><th scope="col">${first}</th>${rest.map((name) => html`<th scope="col" class="number">${name}</th>`)}</tr></thead>
<tbody>${rows(routing, given).map(([task, ...cells]) => html`<tr><th scope="row">${task}</th>${cells.map((cell) => html`<td class="number">${cell}</td>`)}</tr>`)}</tbody></table></div></section>`;
}

/** The same as Markdown. @param clean for text of others */
export function routingBlocks(
  routing: RoutingView | undefined,
  given: readonly number[],
  clean: (text: string) => string,
): string[] {
  if (!routing) return [];
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const names = head(routing).map(clean);
  return [
    '## Without the task given',
    clean(summary(routing)),
    [
      line(names),
      `| --- |${' ---: |'.repeat(names.length - 1)}`,
      ...rows(routing, given).map(([task, ...cells]) => line([clean(task!), ...cells])),
    ].join('\n'),
  ];
}

/** The same in a line, for a terminal. */
export const routingLine = (routing: Pick<RoutingView, 'router' | 'accuracy' | 'averageScore'>) =>
  `router ${routing.router}: ${fixed(routing.accuracy)} % of the test prompts go to the right task; average score without the task given ${fixed(routing.averageScore)}`;
