/**
 * Every name and shape that crosses a process: workflow, update, signal and query names, their inputs and results, task
 * queues, search attributes. Payloads hold references and digests, never tensors or data. Imports types only.
 */

import type { Budget, PriceTable, Usage } from '../core/cost.ts';
import type {
  EvaluationSettings,
  FairnessSettings,
  GateSettings,
  LimitSettings,
  ResolvedStart,
  StreamStart,
  TrainingSettings,
} from './definition-contract.ts';
import type { RouterName, RoutingScores } from './routing-contract.ts';

/** Version of every payload here; another number is refused. */
export const SCHEMA = 1;

/** Task queues. GPU work may be spread over classes by `StreamDefinition.gpuQueue`. */
export const QUEUES = { orchestrator: 'lilora', data: 'lilora-data', gpu: 'lilora-gpu' } as const;

/** Workflow types as they are registered: the exported function names of workflows/index.ts. */
export const WORKFLOWS = { stream: 'stream', learnTask: 'learnTask', launcher: 'launcher' } as const;

export const UPDATES = {
  submitTask: 'submitTask',
  decideGate: 'decideGate',
  cancelTask: 'cancelTask',
  rollback: 'rollback',
  raiseBudget: 'raiseBudget',
  compact: 'compact',
  removeTask: 'removeTask',
} as const;

export const SIGNALS = {
  pause: 'pause',
  resume: 'resume',
  progress: 'progress',
  gateDecision: 'gateDecision',
  budget: 'budget',
  taskUsage: 'taskUsage',
} as const;

export const QUERIES = { describe: 'describe' } as const;

/** Search attributes, registered once per namespace. Servers on SQL take three of type Double and three of type Int. */
export const SEARCH_ATTRIBUTES = {
  LiloraStream: 'Keyword',
  LiloraTask: 'Keyword',
  LiloraMethod: 'Keyword',
  LiloraPhase: 'Keyword',
  LiloraAverageAccuracy: 'Double',
  LiloraForgetting: 'Double',
  LiloraGpuSeconds: 'Int',
  LiloraCost: 'Double',
  LiloraDrift: 'Int',
} as const;

/** Names of streams and tasks: safe in workflow ids, object keys and file names. */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;

export const streamWorkflowId = (stream: string) => `lilora/${stream}`;
/** The workflow that starts remote workers for one GPU task queue. */
export const launcherWorkflowId = (queue: string) => `lilora-launcher/${queue}`;
export const taskWorkflowId = (stream: string, task: string) => `lilora/${stream}/${task}`;

/** Largest payload that our guard lets pass, in bytes of JSON. */
export const MAX_PAYLOAD_BYTES = 64 * 1024;

/** An object of the store: where it is and what it must be. */
export interface FileRef {
  readonly key: string;
  readonly size: number;
  readonly sha256: string;
}

/** What people and servers call a base model, wherever its files lie: the id of a hub, or a name of their own. */
export interface BaseName {
  readonly name: string;
  /** Commit, where the name is of a hub. */
  readonly revision?: string;
}

/** What a person writes to define a stream; everything but `name` and `model` has a default. */
export interface StreamDefinition {
  readonly name: string;
  /** Folder of the base model: `s3://bucket/prefix`, or a path on workers that share a disk. */
  readonly model: string;
  /** What adapters call it; the last part of `model` when absent. */
  readonly base?: BaseName;
  /** Method name and its options (learning/methods). */
  readonly method?: string;
  readonly options?: Readonly<Record<string, unknown>>;
  /** Which layers are adapted: a preset (`paper`, `language-only`, `attention+mlp`, `all-linear`), endings of module names, or a regular expression. */
  readonly targets?: string | readonly string[];
  readonly training?: Partial<TrainingSettings>;
  readonly evaluation?: Partial<EvaluationSettings>;
  readonly gate?: Partial<GateSettings>;
  /** What chooses the task where a request names none; `none` when absent. */
  readonly router?: RouterName | 'none';
  readonly limits?: Partial<LimitSettings>;
  readonly seed?: number;
  /** Task queue of the GPU class that this stream uses. */
  readonly gpuQueue?: string;
  /** Task queue of the GPU class that evaluates, where it is another one: training may need a larger GPU. */
  readonly evaluationQueue?: string;
  /** Its share of workers that several streams wait for. */
  readonly fairness?: Partial<FairnessSettings>;
  /** What is paid for GPU-seconds, bytes and requests: without it, money is unknown. */
  readonly prices?: PriceTable;
  /** Limits at which a task waits for a person. `raiseBudget` changes them. */
  readonly budget?: Budget;
  /** A bank that was learned elsewhere, to go on from. */
  readonly start?: StreamStart;
}

/** Fields of a definition that may be left out: all but the name and the model. */
export const DEFINITION_FIELDS: readonly string[] = Object.keys({
  method: true,
  options: true,
  targets: true,
  training: true,
  evaluation: true,
  gate: true,
  router: true,
  limits: true,
  seed: true,
  gpuQueue: true,
  evaluationQueue: true,
  fairness: true,
  prices: true,
  budget: true,
  start: true,
  base: true,
} satisfies Record<Exclude<keyof StreamDefinition, 'name' | 'model'>, true>);

/** A shard of an evaluation: batches `from` up to, without, `to`, in the order of evaluation. */
export interface BatchRange {
  readonly from: number;
  readonly to: number;
}

/** A definition with every default filled in and the model's digest: what stream.json holds. */
export interface ResolvedStream {
  readonly schema: typeof SCHEMA;
  readonly name: string;
  readonly model: { readonly uri: string; readonly digest: string };
  readonly base?: BaseName;
  readonly method: { readonly name: string; readonly options: Readonly<Record<string, unknown>> };
  readonly targets: string | readonly string[];
  readonly training: TrainingSettings;
  readonly evaluation: EvaluationSettings;
  readonly gate: GateSettings;
  /** Absent: none. */
  readonly router?: RouterName;
  readonly limits: LimitSettings;
  readonly seed: number;
  readonly gpuQueue: string;
  readonly evaluationQueue?: string;
  readonly fairness?: FairnessSettings;
  readonly prices?: PriceTable;
  readonly budget?: Budget;
  readonly start?: ResolvedStart;
}

/** What adapters call the base model: never the place where a store keeps it. */
export function baseOf({ model, base }: Pick<ResolvedStream, 'model' | 'base'>): BaseName {
  return base ?? { name: model.uri.replace(/\/+$/, '').split('/').at(-1)! };
}

/** What the workflow needs to know of a method to decide. */
export interface MethodAbilities {
  /** Has a regularize step. */
  readonly consolidates: boolean;
  /** Can learn with the shared part frozen. */
  readonly hasSafeMode: boolean;
  /** Learns from the training data of earlier tasks again; absent where not. */
  readonly rehearses?: true;
}

/** A task that the current generation knows, with what later evaluations need. */
export interface LearnedTask {
  readonly task: string;
  readonly dataset: { readonly uri: string; readonly digest: string };
  readonly metric: string;
  readonly test: FileRef;
  /** Its training split, where the method rehearses. */
  readonly train?: FileRef;
  /** What the stream's router keeps of it; absent where it has none. */
  readonly routing?: FileRef;
  /** Samples of its test split; unknown in generations of older versions. */
  readonly samples?: number;
  /** The generation that learned it. */
  readonly generation: number;
}

/** Where the head points. Epoch grows with every move: a stale writer is refused. */
export interface Head {
  readonly generation: number;
  readonly manifestDigest: string;
  readonly epoch: number;
}

/**
 * Accuracy matrix. `zeroShot[j]` is task j on the base model; `rows[i][j]` (j ≤ i) task j after learning task i, in
 * percent. Rows are in the order of learning.
 */
export interface Matrix {
  readonly tasks: readonly string[];
  readonly zeroShot: readonly number[];
  readonly rows: ReadonlyArray<readonly number[]>;
}

/** Published state of a stream, read from its head. */
export interface StreamState {
  readonly definition: ResolvedStream;
  readonly abilities: MethodAbilities;
  readonly head: Head | null;
  readonly bank: FileRef | null;
  readonly learned: readonly LearnedTask[];
  readonly matrix: Matrix;
  /** The next unused generation number. */
  readonly nextGeneration: number;
  /** Absent without a router, and after a removal until the next task. */
  readonly routing?: RoutingScores;
  /** What the stream had used when its head was published; absent in generations of older versions. */
  readonly spent?: Usage;
}

export interface SubmitTask {
  /** `dataset.json` or the folder that holds it, for example `s3://bucket/datasets/digits`. */
  readonly dataset: string;
  /** Name of the task in the stream; the dataset's own name when absent. */
  readonly task?: string;
}

export type TaskStatus = 'queued' | 'running' | 'published' | 'rejected' | 'refused' | 'failed' | 'cancelled';

/** What keeps a stream from going on until a person or time mends it. */
export interface Trouble {
  /** ISO 8601. */
  readonly since: string;
  readonly message: string;
}

/** The answer to a submission; the same dataset gets the same answer again. */
export interface Submission {
  readonly task: string;
  readonly workflowId: string;
  readonly datasetDigest: string;
  readonly status: TaskStatus;
  /** Set when this dataset was submitted before. */
  readonly duplicate: boolean;
  readonly generation?: number;
  readonly message?: string;
}

/** New limits by name; null takes one away, what is left out stays. */
export type RaiseBudget = { readonly [Name in keyof Budget]: Budget[Name] | null };

export interface DecideGate {
  readonly task: string;
  readonly decision: 'approve' | 'reject';
  readonly reason?: string;
}

/** Result of one learn-task workflow. */
export interface LearnTaskResult {
  readonly task: string;
  readonly outcome: 'published' | 'rejected';
  readonly state: StreamState;
  readonly reason?: string;
  readonly usage?: Usage;
}

export type Phase =
  | 'fetch-dataset'
  /** In tasks that older versions began. */
  | 'score-base-model'
  | 'train'
  | 'regularize-shared'
  | 'evaluate'
  | 'gate'
  | 'waiting-for-person'
  | 'publish'
  | 'paused'
  | 'idle';

export interface Progress {
  readonly step: number;
  readonly steps: number;
  readonly loss: number | null;
  /** The method looks at data, before or after the steps. */
  readonly measuring?: true;
  /** What the running step spent so far: its activity, its task queue, seconds of all its attempts. */
  readonly spent?: { readonly activity: string; readonly queue: string; readonly seconds: number };
  /** Counted from 1; absent where training goes straight through. */
  readonly round?: number;
  readonly rounds?: number;
}

/** How a score was measured that stands for a whole test split, on some of its samples. */
export interface Sampled {
  readonly count: number;
  /** Samples of the split. */
  readonly of: number;
  /** Points. */
  readonly standardError: number;
}

/** What the gate saw. */
export interface GateReport {
  readonly attempt: string;
  readonly scores: ReadonlyArray<{
    readonly task: string;
    readonly before: number | null;
    readonly now: number;
    /** Of `now`; absent where the whole split was evaluated. */
    readonly sampled?: Sampled;
  }>;
  readonly worstLoss: number;
  readonly gain: number;
  readonly verdict: 'pass' | 'over-budget' | 'no-gain';
}

/** Answer of the `describe` query of a learn-task workflow. */
export interface TaskDescription {
  readonly stream: string;
  readonly task: string;
  readonly phase: Phase;
  readonly progress: Progress | null;
  readonly gate: readonly GateReport[];
  /** What a person has to know who is waited for. */
  readonly note?: string | null;
  readonly usage?: Usage;
}

/** One line of a stream's history. */
export interface TaskLine {
  readonly task: string;
  readonly dataset: string;
  readonly datasetDigest: string;
  /** No gpu worker lived when it was submitted, and fetching it takes no longer than the start of one. */
  readonly fromZero?: boolean;
  readonly status: TaskStatus;
  readonly generation?: number;
  readonly message?: string;
  readonly usage?: Usage;
}

/** Answer of the `describe` query of a stream. */
export interface StreamDescription {
  readonly stream: string;
  readonly paused: boolean;
  readonly head: Head | null;
  readonly tasks: readonly TaskLine[];
  readonly matrix: Matrix;
  readonly routing?: RoutingScores;
  readonly definition: ResolvedStream | null;
  /** Absent while all is well. */
  readonly trouble?: Trouble;
  /** Of all tasks, the running one too, and of the stream's own steps. */
  readonly usage?: Usage;
  readonly budget?: Budget;
}

/** Input of the stream workflow: a definition, and what a predecessor carried over. */
export interface StreamInput {
  readonly schema: typeof SCHEMA;
  readonly definition: StreamDefinition;
  readonly carried?: {
    readonly paused: boolean;
    readonly tasks: readonly TaskLine[];
    readonly usage?: Usage;
    readonly budget?: Budget;
  };
}

export interface LearnTaskInput {
  readonly schema: typeof SCHEMA;
  readonly task: string;
  readonly dataset: { readonly uri: string; readonly digest: string };
  readonly state: StreamState;
  /** No gpu worker lived when it was submitted, and fetching it takes no longer than the start of one. */
  readonly fromZero?: boolean;
  /** What the stream used before this task. */
  readonly spent?: Usage;
  /** The limits now in force. */
  readonly budget?: Budget;
}
