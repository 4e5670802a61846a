import type { TestSample } from '../learning/evaluation/sample.ts';
import type { Consolidated } from '../learning/methods/method.ts';
import type { BatchRange } from '../workflows/contract.ts';
import type { EvaluationSettings, TrainingSettings } from '../workflows/definition-contract.ts';
import type { RouterName } from '../workflows/routing-contract.ts';

/**
 * The engine as activities see it: one process that owns all tensors, keeps the base model warm between jobs, and can be
 * killed and replaced. Jobs take and give local paths, never tensors.
 */
export interface Engine {
  run<Kind extends keyof EngineJobs>(
    kind: Kind,
    job: EngineJobs[Kind]['job'],
    hooks: EngineHooks,
  ): Promise<EngineJobs[Kind]['result']>;
}

export interface EngineHooks {
  /** Aborting asks for a last checkpoint; after a grace time the process is killed. */
  readonly signal: AbortSignal;
  onProgress(progress: EngineProgress): void;
  /** The engine works on the job itself, or (false) on what is no use by itself: loading the model. */
  onWork?(working: boolean): void;
  /** A checkpoint was written to a local file; the engine goes on when the promise resolves. */
  onCheckpoint?(path: string, step: number): Promise<void>;
}

export interface EngineProgress {
  readonly step: number;
  readonly steps: number;
  readonly loss: number | null;
  /** The method looks at data before or after the steps; absent while there are steps. */
  readonly measuring?: true;
}

/** What every job needs to run a model with a method. */
export interface ModelJob {
  /**
   * Local folder of the base model and its digest: the same digest means the warm model is used. `features`: local folder
   * that keeps vision features beyond this process.
   */
  readonly model: { readonly folder: string; readonly digest: string; readonly features?: string };
  readonly method: { readonly name: string; readonly options: Readonly<Record<string, unknown>> };
  readonly targets: string | readonly string[];
  readonly task: string;
}

export interface TrainJob extends ModelJob {
  /** Local path of the bank to start from; null for the first task. */
  readonly bank: string | null;
  /** Local path of the packed training split. */
  readonly samples: string;
  /** Those of earlier tasks, for methods that rehearse. */
  readonly rehearsed?: ReadonlyArray<{ readonly task: string; readonly samples: string }>;
  readonly training: TrainingSettings;
  readonly seed: number;
  /** Digests that a checkpoint must match to be resumed. */
  readonly identity: Readonly<Record<string, string>>;
  /** Local path of the checkpoint to resume from. */
  readonly resume: string | null;
  readonly checkpointSeconds: number;
  /** Folder for what the job writes. */
  readonly out: string;
}

export interface TrainResult {
  readonly bank: string;
  /** Local path of the training log, one JSON object a line. */
  readonly metrics: string;
  readonly steps: number;
  readonly seconds: number;
  /** Back end, device and versions that computed it. */
  readonly engine: EngineInfo;
}

/** One worker's part of one round (learning/training/rounds.ts). */
export interface TrainRoundJob extends TrainJob {
  readonly rounds: { readonly workers: number; readonly roundSteps: number };
  /** From 0. */
  readonly worker: number;
  /** From 0. */
  readonly round: number;
  /** Local paths of the averaged weights and of this worker's inner state; null in the first round. */
  readonly from: { readonly weights: string; readonly inner: string } | null;
}

export interface TrainRoundResult extends Omit<TrainResult, 'bank' | 'steps'> {
  /** Local path of what was trained. */
  readonly weights: string;
  /** Local path of the worker's moments and position. */
  readonly inner: string;
  /** Local path of the bank that the method started, when there was none. */
  readonly started: string | null;
}

export interface ConsolidateJob extends ModelJob {
  readonly before: string;
  readonly after: string;
  readonly strength: number;
  /** For the refit of the new task's own factors, when the method asks for one. */
  readonly samples: string;
  readonly training: TrainingSettings;
  readonly seed: number;
  readonly out: string;
}

export interface ConsolidateResult {
  readonly bank: string;
  readonly drift: Consolidated['drift'];
}

/** What answering a test split needs. */
export interface TestJob extends ModelJob {
  /** Null: the base model alone. */
  readonly bank: string | null;
  /** Local path of the packed test split. */
  readonly samples: string;
  /** Samples that stand for the whole split; absent: all of it. */
  readonly sample?: TestSample;
  readonly evaluation: EvaluationSettings;
  readonly out: string;
}

export interface EvaluateJob extends TestJob {
  readonly metric: string;
}

export interface EvaluateResult {
  /** Percent. */
  readonly score: number;
  /** Percent of answers in the required format. */
  readonly instructionFollowing: number;
  readonly count: number;
  /** Local path, one JSON object a line. */
  readonly predictions: string;
  readonly seconds: number;
}

/** A part of an evaluation: answers to some batches, not scored. */
export interface AnswerJob extends TestJob {
  readonly batches: BatchRange;
}

export interface AnswerResult {
  readonly count: number;
  /** Local path, one JSON object a line. */
  readonly answers: string;
  readonly seconds: number;
}

/** Makes what a router keeps of a task. */
export interface StatisticsJob extends Pick<ModelJob, 'model' | 'task'> {
  /** Local path of the packed training split. */
  readonly samples: string;
  readonly batchSize: number;
  readonly seed: number;
  readonly out: string;
}

export interface StatisticsResult {
  /** Prompts that were looked at. */
  readonly count: number;
  /** Local path. */
  readonly statistics: string;
  readonly seconds: number;
}

/** A router and local paths of what it keeps of every task. */
export interface RouterFiles {
  readonly router: RouterName;
  readonly tasks: ReadonlyArray<{ readonly task: string; readonly statistics: string }>;
}

/** Evaluates a test split of which nobody says the task. */
export interface EvaluateRoutedJob extends EvaluateJob {
  readonly routing: RouterFiles;
  /** Local path of the answers with the task given: they are those of prompts that are routed to it. */
  readonly predictions: string;
}

export interface EvaluateRoutedResult {
  /** Percent. */
  readonly score: number;
  /** Percent of prompts for which the right task was chosen. */
  readonly accuracy: number;
  readonly count: number;
  /** How often each task was chosen; only those that were. */
  readonly chosen: Readonly<Record<string, number>>;
  readonly seconds: number;
}

/** One prompt of a person. */
export interface AskJob {
  readonly model: { readonly folder: string; readonly digest: string };
  readonly prompt: string;
  /** Local image files, in the order of the markers. */
  readonly images: readonly string[];
  /** Take the prompt as it is, without the chat template. */
  readonly raw: boolean;
}

/** What answers beside the base model: the PEFT adapter in a local folder, or a task of a local bank; null for nothing. */
export type AdapterSource = { readonly folder: string } | { readonly bank: string; readonly task: string } | null;

export interface PredictJob extends AskJob {
  readonly adapter: AdapterSource;
  readonly maxNewTokens: number;
}

export interface RouteJob extends AskJob {
  readonly routing: RouterFiles;
}

/** The task that is chosen for a prompt, and the router's score of each. */
export interface RouteResult {
  readonly task: string;
  readonly scores: Readonly<Record<string, number>>;
}

export interface PredictResult {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly logProbabilities: readonly number[];
}

export interface EngineJobs {
  /** Loads a model, for jobs to come. */
  warm: { job: Pick<ModelJob, 'model'>; result: Record<string, never> };
  train: { job: TrainJob; result: TrainResult };
  trainRound: { job: TrainRoundJob; result: TrainRoundResult };
  consolidate: { job: ConsolidateJob; result: ConsolidateResult };
  evaluate: { job: EvaluateJob; result: EvaluateResult };
  answer: { job: AnswerJob; result: AnswerResult };
  predict: { job: PredictJob; result: PredictResult };
  routingStatistics: { job: StatisticsJob; result: StatisticsResult };
  evaluateRouted: { job: EvaluateRoutedJob; result: EvaluateRoutedResult };
  route: { job: RouteJob; result: RouteResult };
}

export interface EngineInfo {
  readonly backend: string;
  readonly device: string;
  readonly version: string;
}
