import { join } from 'node:path';
import { methodNamed } from '../../learning/methods/registry.ts';
import { selectLayers } from '../../learning/methods/targets.ts';
import type { AdaptedLayer } from '../../learning/model/model.ts';
import { readDefinition } from '../../learning/model/registry.ts';
import { ROOT } from '../../workers/runtime.ts';
import type { Result } from './results.ts';
import type { Compared } from './runs.ts';

/** Mean and, over several streams, the standard deviation. */
export function spread(numbers: ReadonlyArray<number | null | undefined>, digits = 1): string {
  const known = numbers.filter((x) => typeof x === 'number');
  if (known.length === 0) return '–';
  const mean = known.reduce((a, b) => a + b, 0) / known.length;
  if (known.length === 1) return mean.toFixed(digits);
  const deviation = Math.sqrt(known.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (known.length - 1));
  return `${mean.toFixed(digits)} ± ${deviation.toFixed(digits)}`;
}

/** Mean final score of all tasks but one. */
function meanWithout({ matrix: { tasks, rows } }: Result, task: string): number {
  const last = rows.at(-1)!.filter((_, i) => tasks[i] !== task);
  return last.reduce((a, b) => a + b, 0) / last.length;
}

/** Numbers of parameters of a method on the example base model, as shares of one LoRA. */
async function parametersOf(runs: Readonly<Record<string, Compared>>) {
  const { shapes } = await readDefinition(join(ROOT, 'examples/base-model'));
  const linear: AdaptedLayer[] = [...shapes]
    .filter(([name, shape]) => shape.length === 2 && name.endsWith('.weight') && !/vision|embed|lm_head/.test(name))
    .map(([name, shape]) => ({ name: name.replace(/\.weight$/, ''), out: shape[0]!, in: shape[1]! }));
  const layers = selectLayers(linear, 'paper');
  const count = ({ method, options }: Compared) =>
    methodNamed(method).describe(layers, methodNamed(method).options.parse(options)).parameters;
  const lora = count({ method: 'per-task-lora', options: {} }).perTask;
  return (run: string) => {
    const { shared, perTask } = count(runs[run]!);
    return { shared: (100 * shared) / lora, perTask: (100 * perTask) / lora };
  };
}

/** One method with one setting of instructions, and one order of tasks. */
export interface Line {
  readonly run: string;
  readonly setting: string;
  /** Mean over its streams. */
  readonly AP: number;
  /** Percent of the parameters of one LoRA. */
  readonly perTask: number;
  readonly cells: readonly string[];
}

/** Streams of one line, in the order of the first of each. */
function grouped(results: readonly Result[], lineOf: (result: Result) => string): Map<string, Result[]> {
  const groups = new Map<string, Result[]>();
  for (const result of results) groups.set(lineOf(result), [...(groups.get(lineOf(result)) ?? []), result]);
  return groups;
}

/** Every method in every setting, the best AP first. */
export async function linesOf(results: readonly Result[], runs: Readonly<Record<string, Compared>>): Promise<Line[]> {
  const parameters = await parametersOf(runs);
  const groups = grouped(results, (result) => `${settingOf(result)} ${result.run}`);
  const lines = [...groups.values()].map((streams): Line => {
    const { run } = streams[0]!;
    const over = (key: string) => spread(streams.map(({ metrics }) => metrics[key]));
    const megabytes = (key: 'bankBytes' | 'storeBytes', digits: number) =>
      spread(
        streams.map((stream) => stream[key] / 1e6),
        digits,
      );
    const seconds = streams.map(({ trainingSeconds }) => trainingSeconds);
    const { shared, perTask } = parameters(run);
    const cells = [
      ...[run, String(streams.length)],
      ...[over('AP'), spread(streams.map((stream) => meanWithout(stream, 'caption')))],
      ...['MAP', 'BWT', 'forgetting', 'MFT', 'MIF'].map(over),
      ...[shared, perTask].map((share) => `${share.toFixed(0)} %`),
      ...[spread(seconds, 0), megabytes('bankBytes', 1), megabytes('storeBytes', 0)],
    ];
    const AP = streams.reduce((sum, { metrics }) => sum + (metrics['AP'] ?? 0), 0) / streams.length;
    return { run, setting: settingOf(streams[0]!), AP, perTask, cells };
  });
  return lines.sort((a, b) => b.AP - a.AP);
}

/** What one method reached, in a few words. */
export function reached(streams: readonly Result[]): string {
  const over = (key: string) => spread(streams.map(({ metrics }) => metrics[key])).replaceAll('-', '−');
  const { length } = streams;
  return `AP ${over('AP')}, BWT ${over('BWT')}, learned ${over('MFT')}, ${length} stream${length === 1 ? '' : 's'}`;
}

/** What a table is about. */
export const settingOf = ({ instructions, order }: Pick<Result, 'instructions' | 'order'>) =>
  `Instructions: ${instructions}; order: ${order}`;

const HEAD =
  '| method | streams | AP | without captions | MAP | BWT | forgetting | learned | MIF | shared, of a LoRA | per task, of a LoRA | training, s | bank, MB | store, MB |';

/** Single instructions before others. */
const single = (setting: string) => Number(setting.includes('single'));

/** One Markdown table per setting, below what `origin` says of it. */
export function tables(lines: readonly Line[], origin?: (setting: string) => string): string {
  return [...new Set(lines.map(({ setting }) => setting))]
    .sort((a, b) => single(b) - single(a) || a.localeCompare(b))
    .map((setting) => {
      const rows = lines.filter((line) => line.setting === setting);
      const table = [HEAD, `| --- |${' ---: |'.repeat(13)}`, ...rows.map(({ cells }) => `| ${cells.join(' | ')} |`)];
      return [setting, '', ...(origin ? [origin(setting), ''] : []), ...table].join('\n');
    })
    .join('\n\n');
}

/** The task that is learned in some runs only, whatever the method: it hides smaller differences. */
const UNSTEADY = 'relation';

/** What changed, and what became of it: one row per run and order of tasks, in the order of the sweep. */
export function sweepTable(results: readonly Result[]): string {
  const groups = grouped(results, ({ run, order }) => `${run} | ${order}`);
  const rows = [...groups].map(([name, streams]) => {
    const over = (key: string) => spread(streams.map(({ metrics }) => metrics[key]));
    return `| ${[name, streams.length, over('AP'), spread(streams.map((stream) => meanWithout(stream, UNSTEADY))), over('BWT'), over('MFT')].join(' | ')} |`;
  });
  const head = `| run | order | seeds | AP | AP without \`${UNSTEADY}\` | BWT | learned |`;
  return [head, '| --- | --- | ---: | ---: | ---: | ---: | ---: |', ...rows].join('\n');
}

/** How long streams grow: the mean score of all tasks so far after every tenth task, and what is kept at the end. */
export function growthTable(results: readonly Result[]): string {
  const count = results[0]!.matrix.tasks.length;
  const marks = Array.from({ length: Math.floor(count / 10) }, (_, i) => 10 * (i + 1));
  const mean = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
  const rows = [...new Set(results.map(({ run }) => run))].map((run) => {
    const streams = results.filter((result) => result.run === run);
    const cells = [
      ...marks.map((mark) => spread(streams.map(({ matrix }) => mean(matrix.rows[mark - 1]!)))),
      ...['BWT', 'forgetting', 'MFT'].map((key) => spread(streams.map(({ metrics }) => metrics[key]))),
      ...[
        spread(streams.map((stream) => stream.bankBytes / 1e6)),
        spread(
          streams.map((stream) => stream.storeBytes / 1e6),
          0,
        ),
      ],
      ...[
        spread(
          streams.map(({ trainingSeconds }) => trainingSeconds),
          0,
        ),
      ],
    ];
    return `| ${[run, ...cells].join(' | ')} |`;
  });
  const head = [
    ...marks.map((mark) => `AP after ${mark}`),
    'BWT',
    'forgetting',
    'learned',
    'bank, MB',
    'store, MB',
    'training, s',
  ];
  return [`| method | ${head.join(' | ')} |`, `| --- |${' ---: |'.repeat(head.length)}`, ...rows].join('\n');
}
