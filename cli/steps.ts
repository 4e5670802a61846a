import { Listr, ListrLogger, ProcessOutput } from 'listr2';
import { visible } from '../report/markup.ts';
import { note } from './output.ts';

/** Says how far the step is that runs. */
export type Say = (text: string, detail?: string) => void;

export interface Step {
  readonly title: string;
  run(say: Say): Promise<void>;
}

/** Seconds between two lines of the same step where there is no terminal. */
const QUIET_SECONDS = 15;

/** Runs steps one after another and shows them on stderr: a live list on a terminal, plain lines elsewhere. */
export async function runSteps(steps: readonly Step[]): Promise<void> {
  if (!process.stderr.isTTY) {
    for (const step of steps) await plainStep(step);
    return;
  }
  const processOutput = new ProcessOutput(process.stderr, process.stderr);
  const tasks = steps.map(({ title, run }) => ({
    title,
    task: async (_: unknown, task: { title: string; output: string }) => {
      const started = Date.now();
      await run((text, detail) => {
        task.output = visible(detail ? `${text}: ${detail}` : text);
      });
      task.title = `${title} (${seconds(started)})`;
    },
  }));
  const list = new Listr(tasks, {
    rendererOptions: { logger: new ListrLogger({ processOutput }), collapseErrors: false },
    registerSignalListeners: false,
  });
  await list.run();
}

async function plainStep({ title, run }: Step): Promise<void> {
  const started = Date.now();
  let last = '';
  let printed = 0;
  note(`${title} …`);
  await run((text, detail) => {
    if (text === last && Date.now() - printed < QUIET_SECONDS * 1000) return;
    last = text;
    printed = Date.now();
    note(`  ${detail ? `${text}: ${detail}` : text}`);
  });
  note(`${title}: done (${seconds(started)})`);
}

const seconds = (since: number) => `${((Date.now() - since) / 1000).toFixed(1)} s`;
