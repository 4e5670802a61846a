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

/** One Markdown table per instruction setting, the best AP first. */
export async function tables(results: readonly Result[], runs: Readonly<Record<string, Compared>>): Promise<string> {
  const parameters = await parametersOf(runs);
  const settings = [...new Set(results.map(({ instructions }) => instructions))];
  return settings
    .map((instructions) => {
      const own = results.filter((result) => result.instructions === instructions);
      const lines = [...new Set(own.map(({ run }) => run))].map((run) => {
        const streams = own.filter((result) => result.run === run);
        const over = (key: string) => spread(streams.map(({ metrics }) => metrics[key]));
        const { shared, perTask } = parameters(run);
        const sort = streams.reduce((sum, { metrics }) => sum + (metrics['AP'] ?? 0), 0) / streams.length;
        const cells = [
          ...[run, String(streams.length)],
          ...['AP', 'APWithoutCaptions', 'MAP', 'BWT', 'forgetting', 'MFT', 'MIF'].map(over),
          ...[shared, perTask].map((share) => `${share.toFixed(0)} %`),
          spread(
            streams.map(({ trainingSeconds }) => trainingSeconds),
            0,
          ),
          ...[
            spread(
              streams.map(({ bankBytes }) => bankBytes / 1e6),
              1,
            ),
            spread(
              streams.map(({ storeBytes }) => storeBytes / 1e6),
              0,
            ),
          ],
        ];
        return { sort, text: `| ${cells.join(' | ')} |` };
      });
      const head =
        '| method | streams | AP | without captions | MAP | BWT | forgetting | learned | MIF | shared, of a LoRA | per task, of a LoRA | training, s | bank, MB | store, MB |';
      const rule = `| --- |${' ---: |'.repeat(13)}`;
      const rows = lines.sort((a, b) => b.sort - a.sort).map(({ text }) => text);
      return [`Instructions: ${instructions}`, '', head, rule, ...rows].join('\n');
    })
    .join('\n\n');
}
