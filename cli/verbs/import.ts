import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { LiloraError } from '../../core/errors.ts';
import { BENCHMARKS, type Benchmark, type BenchmarkTask } from '../../datasets/importers/benchmarks.ts';
import { hasTask, type Imported, importTask } from '../../datasets/importers/import-task.ts';
import { table } from '../../report/terminal.ts';
import { LiveLine, note, result, resultJson } from '../output.ts';

interface Options {
  readonly images?: string;
  readonly task?: readonly string[];
  readonly scoring: 'standard' | 'paper';
  readonly skipMissing?: boolean;
  readonly json?: boolean;
}

export function addImport(program: Command): void {
  program
    .command('import')
    .description('Makes datasets of a benchmark from the question files and images that its authors publish.')
    .argument('<kind>', `which benchmark: ${BENCHMARKS.map(({ name }) => name).join(', ')}`)
    .argument('<folder>', 'its question files, a folder for each task')
    .argument('<out>', 'where a folder for each dataset is made')
    .option('--images <folder>', 'where image paths start (default: the folder of the question files)')
    .option('--task <name...>', 'these tasks only')
    .addOption(
      new Option('--scoring <which>', 'the metric of the field, or what the released scripts compute')
        .choices(['standard', 'paper'])
        .default('standard'),
    )
    .option('--skip-missing', 'leave out samples whose image is not there')
    .option('--json', 'what was made, as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora import cvit ./CVIT_benchmark/Instructions_Single ./datasets --images ./dataset
  $ lilora import coin ./Instructions_Original ./datasets --images ./cl_dataset --task scienceqa gqa --scoring paper`,
    )
    .action(async (kind: string, folder: string, out: string, options: Options) => {
      const benchmark = benchmarkNamed(kind);
      const questions = resolve(folder);
      const places = { questions, images: resolve(options.images ?? folder), out: resolve(out) };
      const live = new LiveLine();
      const made: Imported[] = [];
      for (const task of await tasksOf(benchmark, questions, options.task)) {
        live.update(`importing ${benchmark.name}`, task.name);
        made.push(await importTask(benchmark, task, places, options));
      }
      live.end();
      for (const { name, notes } of made) for (const text of notes) note(`${name}: ${text}`);
      if (options.json) return resultJson({ benchmark: benchmark.name, datasets: made });
      const rows = made.map(({ name, metric, train, test, overlap, missing, folder: at }) =>
        [name, metric, train, test, overlap, missing, at].map(String),
      );
      result(table([['dataset', 'metric', 'train', 'test', 'overlap', 'missing', 'folder'], ...rows]));
    });
}

function benchmarkNamed(name: string): Benchmark {
  const found = BENCHMARKS.find((benchmark) => benchmark.name === name);
  if (found) return found;
  const known = BENCHMARKS.map((benchmark) => benchmark.name).join(', ');
  throw new LiloraError('BadConfig', `There is no benchmark "${name}". Choose from ${known}.`);
}

async function tasksOf(benchmark: Benchmark, questions: string, wanted?: readonly string[]): Promise<BenchmarkTask[]> {
  const known = benchmark.tasks.map(({ name }) => name);
  const strange = wanted?.find((name) => !known.includes(name));
  if (strange !== undefined)
    throw new LiloraError('BadConfig', `${benchmark.name} has no task "${strange}". Choose from ${known.join(', ')}.`);
  const found: BenchmarkTask[] = [];
  for (const task of benchmark.tasks)
    if (wanted ? wanted.includes(task.name) : await hasTask(task, questions)) found.push(task);
  if (found.length > 0) return found;
  const folders = benchmark.tasks.map(({ folder }) => folder).join(', ');
  throw new LiloraError('NotFound', `${questions} holds none of ${folders}. Name the folder of the question files.`);
}
