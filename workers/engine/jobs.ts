import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type * as tf from '@tensorflow/tfjs';
import type {
  AnswerJob,
  AnswerResult,
  AskJob,
  ConsolidateJob,
  ConsolidateResult,
  EngineHooks,
  EngineInfo,
  EngineJobs,
  EvaluateJob,
  EvaluateResult,
  EvaluateRoutedJob,
  EvaluateRoutedResult,
  ModelJob,
  PredictJob,
  PredictResult,
  RouteJob,
  RouteResult,
  StatisticsJob,
  StatisticsResult,
  TestJob,
  TrainJob,
  TrainResult,
  TrainRoundJob,
  TrainRoundResult,
} from '../../activities/engine.ts';
import { sha256 } from '../../core/digest.ts';
import { LiloraError } from '../../core/errors.ts';
import { readWhole } from '../../core/files.ts';
import { digestOf } from '../../core/json.ts';
import { readTensorMap, writeSafetensors } from '../../core/safetensors.ts';
import { type EncodedSample, IMAGE_MARKER } from '../../core/sample.ts';
import { imageSizes } from '../../datasets/image.ts';
import type { Images } from '../../datasets/images.ts';
import { PackedSplit } from '../../datasets/packed-split.ts';
import { openProcessor } from '../../datasets/processor/processor.ts';
import { someOf } from '../../datasets/sample-list.ts';
import { jsonLines, scoreAnswers } from '../../learning/evaluation/evaluate.ts';
import { scorerNamed } from '../../learning/evaluation/scorers.ts';
import { readBank, writeBank } from '../../learning/methods/bank.ts';
import { methodNamed } from '../../learning/methods/registry.ts';
import { type Beyond, noAdapter } from '../../learning/model/model.ts';
import { loadModel, readDefinition } from '../../learning/model/registry.ts';
import { startTensors } from '../../learning/tensors/backend.ts';
import { padBatch } from '../../learning/training/batches.ts';
import { chooseRehearsed } from '../../learning/training/mixture.ts';
import { roundPlan, shardOf, trainRound } from '../../learning/training/rounds.ts';
import { type BegunTask, beginTask, refit, type TrainTask, trainTask } from '../../learning/training/train.ts';
import { openAdapter } from './adapter.ts';
import { FeatureFiles } from './feature-files.ts';
import { Features } from './features.ts';
import { OpenTest } from './open-test.ts';
import { chosenPrompts, evaluateRouted, routePrompt, statisticsOfTask } from './routing.ts';
import { featuresLimit, featuresMemory, threadsWanted, weightsWanted } from './settings.ts';
import { tellEager, trainingOf, writeInto } from './training.ts';
import { openedTests, type Warm } from './warm.ts';

/** A packed training split on this disk, and the samples to take of it as indices, from their number; absent: all. */
interface SplitFile {
  readonly path: string;
  readonly choose?: (count: number) => Int32Array;
}

/** Samples as training takes them. */
interface Split extends Pick<TrainTask, 'samples' | 'features'> {
  /** Number of samples in the file, of which these may be a part. */
  readonly count: number;
}

/**
 * What the rounds of one training have in common: samples as tokens, and what a penalty knows of earlier tasks, which
 * takes minutes at 7B. Kept until another job comes.
 */
interface KeptTraining {
  readonly key: string;
  begun: BegunTask | null;
  readonly shards: Map<number, Split>;
}

/**
 * What the engine process does, as plain functions of files: the one place where science (learning) and data (datasets)
 * meet. Also used without a process around it, by `lilora predict --model` and the benchmarks.
 */
export class Jobs {
  private readonly engine: EngineInfo;
  /** How the model's weights are kept, for `info`. */
  private weights = '';
  private warm: Warm | null = null;
  /** Kept between the shards of one evaluation. */
  private test: OpenTest | null = null;
  /** Of the running job. */
  private onWork: NonNullable<EngineHooks['onWork']> = () => {};
  private kept: KeptTraining | null = null;

  private constructor(engine: EngineInfo) {
    this.engine = engine;
  }

  /** What computes, and what of it decides the low bits of results. */
  get info(): EngineInfo {
    return { ...this.engine, version: `${this.engine.version}${this.weights}` };
  }

  static async open(): Promise<Jobs> {
    const threads = threadsWanted();
    const { name, device, version } = await startTensors(undefined, { threads });
    const counted = threads === undefined ? version : `${version}, ${threads} thread${threads === 1 ? '' : 's'}`;
    return new Jobs({ backend: name, device, version: counted });
  }

  run<Kind extends keyof EngineJobs>(
    kind: Kind,
    job: EngineJobs[Kind]['job'],
    hooks: EngineHooks,
  ): Promise<EngineJobs[Kind]['result']> {
    const table = {
      warm: this.warmUp,
      train: this.train,
      trainRound: this.trainRound,
      consolidate: this.consolidate,
      evaluate: this.evaluate,
      answer: this.answer,
      predict: this.predict,
      routingStatistics: this.routingStatistics,
      evaluateRouted: this.evaluateRouted,
      route: this.route,
    };
    const work = table[kind] as (
      job: EngineJobs[Kind]['job'],
      hooks: EngineHooks,
    ) => Promise<EngineJobs[Kind]['result']>;
    this.onWork = (working) => hooks.onWork?.(working);
    this.onWork(true);
    if (kind !== 'trainRound') this.kept = null;
    if (kind !== 'answer') this.closeTest();
    return work.call(this, job, hooks);
  }

  /** The model of this digest, loaded once. */
  private async model({ folder, digest, features }: ModelJob['model']): Promise<Warm> {
    if (this.warm?.digest === digest) return this.warm;
    this.onWork(false);
    this.warm?.generator?.generator.dispose();
    this.warm?.features.dispose();
    this.warm?.model.dispose();
    this.warm = null;
    const weights = weightsWanted(await readDefinition(folder));
    const [model, processor] = await Promise.all([loadModel(folder, { weights }), openProcessor(folder)]);
    // Graphs may sum in another order then, so a run is bit-equal only with weights that are kept the same way.
    this.weights = weights === 'stored' ? ', weights as stored' : '';
    const limit = featuresLimit();
    const files = features && limit > 0 ? new FeatureFiles(join(features, digestOf(this.engine)), limit) : null;
    const seen = new Features(model, processor, files, featuresMemory());
    this.warm = { digest, model, processor, features: seen, tests: openedTests() };
    this.onWork(true);
    return this.warm;
  }

  private async warmUp(job: Pick<ModelJob, 'model'>): Promise<Record<string, never>> {
    await this.model(job.model);
    return {};
  }

  /** Reads packed training splits and sees to the vision features of their images; `features` knows those of all. */
  private async splits(warm: Warm, files: readonly SplitFile[], hooks: EngineHooks): Promise<Split[]> {
    const read: Array<Omit<Split, 'features'>> = [];
    const pictures: Images[] = [];
    for (const { path, choose } of files) {
      const split = await PackedSplit.open(path);
      const { length: count } = split.samples;
      const list = choose ? someOf(split.samples, choose(count)) : split.samples;
      const images = await split.imagesOf(list);
      const sizes = await imageSizes(images);
      const samples: EncodedSample[] = [];
      for await (const sample of list) samples.push(warm.processor.encodeTraining(sample, sizes));
      read.push({ count, samples });
      pictures.push(images);
    }
    const progress = () => hooks.onProgress({ step: 0, steps: 0, loss: null });
    const features = await warm.features.ofSplits(pictures, progress, hooks.signal);
    return read.map((split) => ({ ...split, features }));
  }

  private async split(warm: Warm, path: string, hooks: EngineHooks, choose?: SplitFile['choose']): Promise<Split> {
    const [split] = await this.splits(warm, [{ path, ...(choose && { choose }) }], hooks);
    return split!;
  }

  /** The new task's samples, and of earlier ones those that the method rehearses. */
  private async trainingSplits(job: TrainJob, warm: Warm, hooks: EngineHooks) {
    const method = methodNamed(job.method.name);
    const rehearsal = method.rehearsal?.(method.options.parse(job.method.options));
    const earlier = rehearsal ? (job.rehearsed ?? []) : [];
    const files = earlier.map(({ task, samples: path }) => ({
      path,
      choose: (count: number) => chooseRehearsed(rehearsal!, count, job.seed, task),
    }));
    const [split, ...old] = await this.splits(warm, [{ path: job.samples }, ...files], hooks);
    const rehearsed = old.map(({ samples }, i) => ({ task: earlier[i]!.task, samples }));
    return { ...split!, rehearsed };
  }

  private async train(job: TrainJob, hooks: EngineHooks): Promise<TrainResult> {
    const started = Date.now();
    const warm = await this.model(job.model);
    const { run, writeLog } = await trainingOf(job, warm.model, await this.trainingSplits(job, warm, hooks), hooks);
    const { bank, steps, whyEager } = await trainTask(run);
    tellEager(whyEager);
    const path = await writeInto(job.out, 'bank.safetensors', writeBank(bank));
    const metrics = await writeLog();
    return { bank: path, metrics, steps, seconds: (Date.now() - started) / 1000, engine: this.info };
  }

  private async trainRound(job: TrainRoundJob, hooks: EngineHooks): Promise<TrainRoundResult> {
    const started = Date.now();
    const { rounds, worker, round, bank, model, method, targets, task, seed, out } = job;
    const warm = await this.model(model);
    const key = digestOf({ bank, model, method, targets, task, seed, rounds, samples: job.samples });
    if (this.kept?.key !== key) this.kept = { key, begun: null, shards: new Map() };
    const { kept } = this;
    const choose = (count: number) => shardOf(job, count, rounds.workers, worker);
    const split = kept.shards.get(worker) ?? (await this.split(warm, job.samples, hooks, choose));
    kept.shards.set(worker, split);
    const { run, writeLog } = await trainingOf(job, warm.model, split, hooks, kept.begun?.bank);
    kept.begun ??= beginTask(run);
    const { steps } = roundPlan(split.count, job.training, rounds);
    const from = job.from && {
      weights: readTensorMap(await readWhole(job.from.weights), job.from.weights),
      inner: await readWhole(job.from.inner),
    };
    const done = await trainRound({ ...run, begun: kept.begun, steps, rounds, worker, round, from });
    tellEager(done.whyEager);
    return {
      weights: await writeInto(out, 'weights.safetensors', writeSafetensors(done.weights)),
      inner: await writeInto(out, 'inner.safetensors', done.inner),
      started: bank ? null : await writeInto(out, 'started.safetensors', writeBank(done.bank)),
      metrics: await writeLog(),
      seconds: (Date.now() - started) / 1000,
      engine: this.info,
    };
  }

  private async consolidate(job: ConsolidateJob, hooks: EngineHooks): Promise<ConsolidateResult> {
    const method = methodNamed(job.method.name);
    const before = readBank(await readWhole(job.before), job.before);
    const after = readBank(await readWhole(job.after), job.after);
    const done = method.consolidate!(before, after, job.task, job.strength);
    let { bank } = done;
    if (done.refit) {
      const warm = await this.model(job.model);
      const { samples, features } = await this.split(warm, job.samples, hooks);
      bank = await refit({
        model: warm.model,
        method,
        bank,
        task: job.task,
        samples,
        features,
        training: job.training,
        seed: job.seed,
        signal: hooks.signal,
        onProgress: ({ step, steps, loss }) => hooks.onProgress({ step, steps, loss }),
      });
    }
    const path = join(job.out, 'bank.safetensors');
    await writeFile(path, writeBank(bank));
    return { bank: path, drift: done.drift };
  }

  private async evaluate(job: EvaluateJob, hooks: EngineHooks): Promise<EvaluateResult> {
    const started = Date.now();
    const test = await this.openTest(job);
    const answers = await test.answer(job, undefined, hooks);
    const { score, instructionFollowing, predictions } = scoreAnswers(test.samples, answers, scorerNamed(job.metric));
    this.closeTest();
    const path = join(job.out, 'predictions.jsonl');
    await writeFile(path, jsonLines(predictions));
    const seconds = (Date.now() - started) / 1000;
    return { score, instructionFollowing, count: predictions.length, predictions: path, seconds };
  }

  /** Answers to some batches of a test split, unscored. */
  private async answer(job: AnswerJob, hooks: EngineHooks): Promise<AnswerResult> {
    const started = Date.now();
    const answers = await (await this.openTest(job)).answer(job, job.batches, hooks);
    const path = join(job.out, 'answers.jsonl');
    await writeFile(path, jsonLines(answers));
    return { count: answers.length, answers: path, seconds: (Date.now() - started) / 1000 };
  }

  /** What an evaluation needs; opened once for all of its shards that come here. */
  private async openTest(job: TestJob): Promise<OpenTest> {
    if (this.test?.key === OpenTest.key(job)) return this.test;
    this.closeTest();
    this.test = await OpenTest.open(await this.model(job.model), job);
    return this.test;
  }

  private closeTest(): void {
    this.test?.dispose();
    this.test = null;
  }

  private async routingStatistics(job: StatisticsJob, hooks: EngineHooks): Promise<StatisticsResult> {
    const warm = await this.model(job.model);
    const choose = (count: number) => chosenPrompts(count, job.seed, job.task);
    return statisticsOfTask(job, warm.model, await this.split(warm, job.samples, hooks, choose), hooks);
  }

  private async evaluateRouted(job: EvaluateRoutedJob, hooks: EngineHooks): Promise<EvaluateRoutedResult> {
    return evaluateRouted(await this.model(job.model), job, hooks);
  }

  /** Chooses a task for one prompt. */
  private async route(job: RouteJob, hooks: EngineHooks): Promise<RouteResult> {
    const warm = await this.model(job.model);
    const { asked, vision } = await this.ask(warm, job);
    return routePrompt(
      job.routing,
      { model: warm.model, samples: [asked], vision: () => vision(), batchSize: 1 },
      hooks,
    );
  }

  /** One prompt of a person as tokens, and what the model sees of its images. */
  private async ask({ model, processor, features }: Warm, job: AskJob) {
    const pictures = await Promise.all(job.images.map((path) => readFile(path)));
    const images = pictures.map((bytes) => sha256(bytes));
    const count = (text: string) => (job.raw ? processor.countMarkers(text) : text.split(IMAGE_MARKER).length - 1);
    const prompt = count(job.prompt) > 0 ? job.prompt : `${`${IMAGE_MARKER}\n`.repeat(images.length)}${job.prompt}`;
    if (count(prompt) !== images.length)
      throw new LiloraError(
        'BadConfig',
        `The prompt has ${count(prompt)} ${IMAGE_MARKER} markers for ${images.length} images. Give one --image for each.`,
      );
    const encoded = new Map(images.map((digest, i) => [digest, pictures[i]!]));
    const sizes = await imageSizes(encoded);
    const turns = [{ role: 'user', text: prompt }] as const;
    const asked = job.raw
      ? processor.encodeRaw(prompt, images, sizes)
      : processor.encodePrompt({ id: 'prompt', turns, images, references: [] }, sizes);
    const vision = async (tower?: Beyond) => {
      if (!tower) return features.ofBatch(images, encoded);
      // What was seen without it does not count.
      const seeing = new Features({ encodeImages: (pixels) => model.encodeImages(pixels, tower) }, processor, null);
      return seeing.ofBatch(images, encoded).finally(() => seeing.dispose());
    };
    return { asked, vision };
  }

  /** Answers one prompt with the base model or with a published adapter. */
  private async predict(job: PredictJob): Promise<PredictResult> {
    const warm = await this.model(job.model);
    const { model, processor } = warm;
    const { asked, vision: look } = await this.ask(warm, job);
    const adapter = job.adapter && (await openAdapter(job.adapter, job.model.folder));
    let vision: tf.Tensor3D | null = null;
    try {
      vision = asked.images.length > 0 ? await look(adapter?.tower) : null;
      const batch = padBatch([asked], model.padToken, { side: 'left' });
      const [generated] = model.generate(batch, vision, adapter?.adapt ?? noAdapter, job.maxNewTokens);
      const { ids, logProbabilities } = generated!;
      return { text: processor.decode(ids).trim(), tokens: ids, logProbabilities };
    } finally {
      vision?.dispose();
      adapter?.dispose();
    }
  }
}
