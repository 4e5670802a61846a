import type { CostView } from './cost.ts';
import type { RoutingView } from './routing.ts';

/**
 * A published generation as plain data, ready to be shown. The HTML report, the model card and the terminal are all made from it. Every
 * text in it may come from outside (names, answers, licences): whoever writes it out escapes it.
 */
export interface GenerationView {
  readonly stream: string;
  readonly generation: number;
  /** The generation that this one was learned on top of; null for the first. */
  readonly parent: number | null;
  /** ISO 8601. */
  readonly publishedAt: string;
  readonly model: { readonly uri: string; readonly digest: string; readonly name: string; readonly revision?: string };
  readonly method: { readonly name: string; readonly options: Readonly<Record<string, unknown>> };
  readonly targets: string | readonly string[];
  readonly training: Readonly<Record<string, number | boolean>>;
  readonly seed: number;
  /** In the order of learning; the last one is what this generation learned. */
  readonly tasks: readonly TaskView[];
  readonly matrix: MatrixView;
  readonly metrics: MetricValues;
  /** Every attempt that was put before the gate, in order; the last one was published. */
  readonly gate: readonly GateView[];
  /** One curve per task whose log is at hand; at least the newest task's. */
  readonly losses: readonly LossCurve[];
  readonly parameters: ParameterView | null;
  readonly files: readonly FileView[];
  readonly engine: { readonly backend: string; readonly device: string; readonly version: string } | null;
  readonly codeVersion: string;
  /** The workflow that published it. */
  readonly workflow: { readonly id: string; readonly runId: string } | null;
  /** Scores of this generation that some samples of a test split stand for. */
  readonly sampled?: ReadonlyArray<{
    readonly task: string;
    readonly count: number;
    readonly of: number;
    /** Points. */
    readonly standardError: number;
  }>;
  /** Absent where the stream has no router, or it was not measured on these tasks. */
  readonly routing?: RoutingView;
  /** Absent or null in generations of older versions. */
  readonly cost?: CostView | null;
  /** Training samples of every earlier task that its method learns from again, or `aside` only looks at; absent where none. */
  readonly rehearsed?: { readonly perTask: number | 'all'; readonly aside: boolean };
  /** The bank that the stream started from: its tasks, learned elsewhere. */
  readonly start?: { readonly sha256: string; readonly tasks: readonly string[] };
  /** Tasks that were removed, and the shared tensors that were trained on them too. */
  readonly removed?: ReadonlyArray<{
    readonly task: string;
    readonly removedAt: string;
    readonly traces: readonly string[];
  }>;
  /** SPDX name for the adapters, when somebody decided on one. */
  readonly license?: string;
}

export interface TaskView {
  readonly task: string;
  readonly dataset: {
    readonly uri: string;
    readonly digest: string;
    readonly licence?: string;
    readonly source?: string;
    /** Samples per split. */
    readonly counts?: Readonly<Record<string, number>>;
  };
  /** Name of the scorer. */
  readonly metric: string;
  /** The generation that learned it. */
  readonly generation: number;
  /** Percent of answers in the required format, on this generation. */
  readonly instructionFollowing: number | null;
  /** Where its PEFT adapter is: a folder, relative to the generation or a URI; null where no ordinary LoRA equals the method. */
  readonly adapter: string | null;
  /** A few, right and wrong. */
  readonly predictions: readonly PredictionView[];
}

export interface PredictionView {
  readonly id: string;
  /** What was asked, without the chat template; empty when not kept. */
  readonly prompt: string;
  readonly answer: string;
  readonly references: readonly string[];
  /** 0 to 1. */
  readonly score: number;
  /** A small picture as a `data:image/…;base64,` URI. */
  readonly image?: string;
}

/** Scores in percent: `zeroShot[j]` of the base model, `rows[i][j]` of task j after learning task i (j ≤ i). */
export interface MatrixView {
  readonly tasks: readonly string[];
  readonly zeroShot: readonly number[];
  readonly rows: ReadonlyArray<readonly number[]>;
}

export interface GateView {
  readonly attempt: string;
  readonly scores: ReadonlyArray<{ readonly task: string; readonly before: number | null; readonly now: number }>;
  readonly worstLoss: number;
  readonly gain: number;
  readonly verdict: string;
}

export interface LossCurve {
  readonly task: string;
  readonly points: ReadonlyArray<{ readonly step: number; readonly loss: number }>;
}

/** Numbers of parameters. */
export interface ParameterView {
  /** Stored once for all tasks. */
  readonly shared: number;
  /** Stored for each task. */
  readonly perTask: number;
  /** What an ordinary LoRA of the same rank on the same layers stores for each task. */
  readonly loraPerTask: number;
}

export interface FileView {
  /** Relative to the generation, or a URI when an earlier generation wrote it. */
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/** What a generation says of tasks that were learned elsewhere; of those without a dataset nothing is known. */
export function startText({ sha256, tasks }: NonNullable<GenerationView['start']>, seen: readonly TaskView[]): string {
  const known = new Set(seen.map(({ task }) => task));
  const unseen = tasks.filter((task) => !known.has(task));
  const rest = unseen.length > 0 ? ` Never evaluated here, and not guarded by the gate: ${unseen.join(', ')}.` : '';
  return `The stream started from a bank, SHA-256 ${sha256}, that had learned ${tasks.join(', ')}.${rest}`;
}

/** What a generation says of scores that some samples stand for; empty where there are none. */
export function sampledText(sampled: GenerationView['sampled'] = []): string {
  if (sampled.length === 0) return '';
  const list = sampled.map(
    ({ task, count, of, standardError }) =>
      `${task} on ${count} of ${of} (standard error ${fixed(standardError)} points)`,
  );
  return `Not all test samples of earlier tasks were evaluated, but always the same ones, chosen by the stream’s seed: ${list.join(', ')}.`;
}

/** What a generation says of a task that was removed. */
export function removalText({ task, removedAt, traces }: NonNullable<GenerationView['removed']>[number]): string {
  const rest =
    traces.length > 0
      ? `The shared tensors (${traces.join(', ')}) were trained on it too and may hold traces of it.`
      : 'Nothing here was trained on it.';
  return `Task ${task} was removed on ${removedAt.slice(0, 10)}. ${rest}`;
}

/** The summary numbers; null where there are too few tasks for one. */
export type MetricValues = Readonly<Partial<Record<MetricName, number | null>>>;

export type MetricName = 'AP' | 'MAP' | 'MFT' | 'BWT' | 'forgetting' | 'FWT' | 'MIF';

/** What each number means, shown wherever it is shown. a(i,j) is the score of task j after learning task i, T the number of tasks. */
export const METRICS: Readonly<Record<MetricName, { readonly title: string; readonly meaning: string }>> = {
  AP: {
    title: 'Average performance',
    meaning: 'Mean score of all tasks on this generation: (1/T) Σ a(T,j). Higher is better.',
  },
  MAP: {
    title: 'Mean average performance',
    meaning: 'Mean of that average over all generations so far: how good the stream was on its way. Higher is better.',
  },
  MFT: {
    title: 'Learning accuracy',
    meaning: 'Mean score that each task had just after it was learned: (1/T) Σ a(j,j). Higher is better.',
  },
  BWT: {
    title: 'Backward transfer',
    meaning:
      'Mean change of the earlier tasks since each was learned: (1/(T−1)) Σ a(T,j) − a(j,j). Below zero: something was forgotten.',
  },
  forgetting: {
    title: 'Forgetting',
    meaning: 'Mean fall of the earlier tasks from the best score each ever had. Zero is best.',
  },
  FWT: {
    title: 'Forward transfer',
    meaning:
      'Mean gain of a task over the base model from learning only the tasks before it. Not known where those scores were not measured.',
  },
  MIF: {
    title: 'Instruction following',
    meaning: 'Mean percentage of answers in the format that was asked for, right or wrong. Higher is better.',
  },
};

export const METRIC_NAMES = Object.keys(METRICS) as MetricName[];

/** A number with a fixed number of digits and a proper minus sign; a dash when there is none. */
export function fixed(value: number | null | undefined, digits = 1): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const text = value.toFixed(digits);
  return Number(text) < 0 ? `−${text.slice(1)}` : text.replace(/^-/, '');
}

/** The same with a plus sign for gains. */
export function signed(value: number | null | undefined, digits = 1): string {
  const text = fixed(value, digits);
  return /[1-9]/.test(text) && !text.startsWith('−') ? `+${text}` : text;
}

/** Bytes for people: KiB and MiB are powers of 1024. */
export function bytes(size: number): string {
  if (size < 1024) return `${size} B`;
  return size < 2 ** 20 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / 2 ** 20).toFixed(1)} MiB`;
}
