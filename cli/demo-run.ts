import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { LiloraError } from '../core/errors.ts';
import { openStore } from '../store/open.ts';
import { type Matrix, QUEUES } from '../workflows/contract.ts';
import { outcomeText } from './follow.ts';
import { type FromZero, measureFromZero } from './from-zero.ts';
import { adapterFiles, published } from './generations.ts';
import type { Deployment } from './local/deployment.ts';
import { ROOT } from './place.ts';
import type { Say, Step } from './steps.ts';
import { createStream, submitTask } from './streams.ts';
import { reachableDataset, reachableModel } from './upload.ts';
import { watchTask } from './watch-task.ts';

export interface DemoOptions {
  /** Names of example datasets, in the order of learning. */
  readonly tasks: readonly string[];
  readonly trainSamples?: number;
  readonly testSamples?: number;
  readonly stream: string;
  /** Folder of the base model; the example's own when absent. */
  readonly model?: string;
  /** Where the example datasets are written. */
  readonly folder: string;
}

/** What `demo --json` prints. Seconds everywhere. */
export interface DemoResult {
  readonly stream: string;
  readonly generation: number;
  readonly matrix: Matrix;
  readonly metrics: Readonly<Record<string, number | null>>;
  readonly tasks: ReadonlyArray<{
    readonly task: string;
    readonly adapter: { readonly uri: string; readonly sha256: string };
  }>;
  readonly timings: Readonly<Record<string, number | Readonly<Record<string, number>>>>;
  /** Only with gpu workers that start from zero. */
  readonly serverless?: FromZero;
}

/** Folder of the example base model that comes with the repository. */
export const EXAMPLE_MODEL = join(ROOT, 'examples/base-model');

/** The demo without its servers: what happens in it, step by step, and what it ends with. */
export class Demo {
  private readonly options: DemoOptions;
  private readonly timings: Record<string, number | Record<string, number>> = {};
  private readonly datasets = new Map<string, string>();
  private readonly submitted = new Map<string, number>();
  private serverless: FromZero | undefined;
  private reached: Awaited<ReturnType<typeof reachableModel>> = { model: '' };

  constructor(options: DemoOptions) {
    this.options = options;
  }

  /** The steps before the first task. */
  preparation(deployment: () => Deployment, client: () => Client): Step[] {
    const { stream, tasks, folder } = this.options;
    return [
      {
        title: `Making the example datasets ${tasks.join(', ')}`,
        run: this.timed('examples', async (say) => {
          const { makeDatasets } = await import('../examples/make-datasets.ts');
          await rm(folder, { recursive: true, force: true });
          const made = await makeDatasets(folder, {
            names: tasks,
            ...(this.options.trainSamples === undefined ? {} : { train: this.options.trainSamples }),
            ...(this.options.testSamples === undefined ? {} : { test: this.options.testSamples }),
            onDataset: (name) => say(name),
          });
          for (const [name, path] of Object.entries(made)) this.datasets.set(name, path);
        }),
      },
      {
        title: 'Copying base model and datasets into the store',
        run: this.timed('upload', async (say) => {
          const { store } = deployment();
          const count = (what: string) => (done: number, total: number) => say(what, `${done} of ${total} files`);
          this.reached = await reachableModel(this.options.model ?? EXAMPLE_MODEL, store, count('base model'));
          for (const [name, path] of this.datasets)
            this.datasets.set(name, await reachableDataset(path, store, count(name)));
        }),
      },
      {
        title: `Defining the stream ${stream}`,
        run: this.timed('define', async () => {
          await createStream(client(), { name: stream, ...this.reached });
        }),
      },
    ];
  }

  /** One step per task: submitted, and followed until it is published. */
  learning(deployment: () => Deployment, client: () => Client): Step[] {
    const { stream, tasks } = this.options;
    return tasks.map((task) => ({
      title: `Learning ${task}`,
      run: async (say: Say) => {
        const clock = new PhaseClock();
        this.submitted.set(task, Date.now());
        await submitTask(client(), async () => openStore(deployment().store), stream, {
          dataset: this.datasets.get(task)!,
        });
        const live = { update: say, end: () => {} };
        const line = await watchTask(
          client(),
          stream,
          task,
          ({ running }) => {
            if (running?.task !== task) return;
            clock.enter(running.phase);
          },
          live,
        );
        this.timings[task] = clock.end();
        if (line.status !== 'published')
          throw new LiloraError('BadConfig', `The demo ended early. ${outcomeText(line)}`);
      },
    }));
  }

  /** The step after the last task where gpu workers start from zero: none is left. */
  toZero(deployment: () => Deployment, client: () => Client): Step {
    return {
      title: 'Waiting until the gpu worker leaves',
      run: this.timed('toZero', async () => {
        const store = openStore(deployment().store);
        const gpu = { queue: QUEUES.gpu, living: () => deployment().gpuWorkers() };
        this.serverless = await measureFromZero(client(), store, gpu, this.options.stream, this.submitted);
      }),
    };
  }

  async result(deployment: Deployment): Promise<DemoResult> {
    const store = openStore(deployment.store);
    const { stream } = this.options;
    const found = await published(store, stream);
    const { generation, matrix, metrics } = found;
    const tasks = found.tasks.map((task) => {
      const { ref } = adapterFiles(found, task).find(({ name }) => name === 'adapter_model.safetensors')!;
      return { task, adapter: { uri: `${deployment.store}/${ref.key}`, sha256: ref.sha256 } };
    });
    const { timings, serverless } = this;
    return { stream, generation, matrix, metrics, tasks, timings, ...(serverless && { serverless }) };
  }

  /** A step whose time is kept under a name. */
  timed(name: string, run: (say: Say) => Promise<void>): Step['run'] {
    return async (say) => {
      const started = Date.now();
      await run(say);
      this.timings[name] = (Date.now() - started) / 1000;
    };
  }
}

/** Seconds in each phase, as seen from outside. */
class PhaseClock {
  private readonly spent: Record<string, number> = {};
  private readonly started = Date.now();
  private phase = 'waiting';
  private since = Date.now();

  enter(phase: string): void {
    const now = Date.now();
    this.spent[this.phase] = (this.spent[this.phase] ?? 0) + (now - this.since) / 1000;
    this.phase = phase;
    this.since = now;
  }

  end(): Record<string, number> {
    this.enter('ended');
    return { ...this.spent, total: (Date.now() - this.started) / 1000 };
  }
}
