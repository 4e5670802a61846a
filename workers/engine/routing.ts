import type {
  EngineHooks,
  EvaluateRoutedJob,
  EvaluateRoutedResult,
  RouteResult,
  RouterFiles,
  StatisticsJob,
  StatisticsResult,
} from '../../activities/engine.ts';
import { DEFAULTS } from '../../core/defaults.ts';
import { readWhole } from '../../core/files.ts';
import { type Answer, type Prediction, scoreAnswers } from '../../learning/evaluation/evaluate.ts';
import { scorerNamed } from '../../learning/evaluation/scorers.ts';
import type { BaseModel } from '../../learning/model/model.ts';
import { type Prompts, promptFeatures } from '../../learning/routing/features.ts';
import { type Router, routerOf } from '../../learning/routing/router.ts';
import { readStatistics, statisticsOf, writeStatistics } from '../../learning/routing/statistics.ts';
import { Random } from '../../learning/training/random.ts';
import type { TrainTask } from '../../learning/training/train.ts';
import { OpenTest } from './open-test.ts';
import { writeInto } from './training.ts';
import type { Warm } from './warm.ts';

/** The prompts of a training split that a router's statistics are made of, in their order. */
export function chosenPrompts(count: number, seed: number, task: string): Int32Array {
  const most = DEFAULTS['router.samples'].value;
  return new Random(seed).split(`router ${task}`).permutation(count).slice(0, most).sort();
}

/** Looks at the prompts of a task through the base model. */
export async function statisticsOfTask(
  job: StatisticsJob,
  model: BaseModel,
  { samples, features }: Pick<TrainTask, 'samples' | 'features'>,
  hooks: EngineHooks,
): Promise<StatisticsResult> {
  const started = Date.now();
  const { batchSize, out } = job;
  const vision = async (digests: readonly string[]) => {
    await features.ready?.(digests);
    return features(digests);
  };
  const found = await promptFeatures({ model, samples, vision, batchSize, ...heard(hooks) });
  const bytes = writeStatistics(statisticsOf(found));
  return {
    count: found.length,
    statistics: await writeInto(out, 'routing.safetensors', bytes),
    seconds: (Date.now() - started) / 1000,
  };
}

/** Routes every prompt of a test split, and answers those anew that go to another task than theirs. */
export async function evaluateRouted(
  warm: Warm,
  job: EvaluateRoutedJob,
  hooks: EngineHooks,
): Promise<EvaluateRoutedResult> {
  const started = Date.now();
  const router = await openRouter(job.routing);
  const known = linesOf<Prediction>(await readWhole(job.predictions));
  const test = await OpenTest.open(warm, { ...job, bank: null });
  const places = new Map<string, number[]>();
  for (const [i, features] of (await test.routed(job.evaluation.batchSize, hooks)).entries()) {
    const task = router.choose(features);
    places.set(task, [...(places.get(task) ?? []), i]);
  }
  const answers: Answer[] = [];
  for (const [task, own] of places)
    answers.push(
      ...(task === job.task ? own.map((i) => ({ sample: i, text: known[i]!.text })) : await other(task, own)),
    );
  const { score, predictions } = scoreAnswers(test.samples, answers, scorerNamed(job.metric));
  const right = places.get(job.task)?.length ?? 0;
  return {
    score,
    accuracy: (100 * right) / predictions.length,
    count: predictions.length,
    chosen: Object.fromEntries([...places].map(([task, own]) => [task, own.length])),
    seconds: (Date.now() - started) / 1000,
  };

  async function other(task: string, own: readonly number[]): Promise<Answer[]> {
    const opened = await OpenTest.open(warm, { ...job, task });
    try {
      return await opened.answerSome(job, own, hooks);
    } finally {
      opened.dispose();
    }
  }
}

/** Chooses a task for one prompt. */
export async function routePrompt(
  files: RouterFiles,
  prompt: Omit<Prompts, 'signal' | 'onProgress'>,
  hooks: EngineHooks,
): Promise<RouteResult> {
  const router = await openRouter(files);
  const [features] = await promptFeatures({ ...prompt, ...heard(hooks) });
  const scores = router.scores(features!);
  return {
    task: router.choose(features!),
    scores: Object.fromEntries(router.tasks.map((task, t) => [task, scores[t]!])),
  };
}

async function openRouter({ router, tasks }: RouterFiles): Promise<Router> {
  return routerOf(
    router,
    await Promise.all(
      tasks.map(async ({ task, statistics }) => ({
        task,
        statistics: readStatistics(await readWhole(statistics), statistics),
      })),
    ),
  );
}

const heard = ({ signal, onProgress }: EngineHooks): Pick<Prompts, 'signal' | 'onProgress'> => ({
  signal,
  onProgress: (step, steps) => onProgress({ step, steps, loss: null }),
});

const linesOf = <Line>(bytes: Uint8Array): Line[] =>
  Buffer.from(bytes)
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
