/**
 * Names and shapes of the workflows that Temporal Schedules start: what contract.ts is for streams. Each can also be
 * started by hand; every field but `schema` and the place has a default (core/defaults.ts).
 */
import type { FileRef, LearnedTask, ResolvedStream, SCHEMA, TaskStatus } from './contract.ts';

/** Workflow types as they are registered: the exported function names of workflows/index.ts. */
export const SCHEDULED = { sweep: 'sweep', driftWatch: 'driftWatch', compact: 'compact' } as const;

/** Looks under a prefix for datasets that a stream has not learned and submits them, oldest first. */
export interface SweepInput {
  readonly schema: typeof SCHEMA;
  readonly stream: string;
  /** Folder with datasets, at any depth: `s3://bucket/prefix`. */
  readonly prefix: string;
  /** Datasets that one run submits at most; the rest waits for the next run. */
  readonly limit?: number;
}

/** A dataset under a prefix. */
export interface FoundDataset {
  readonly uri: string;
  readonly digest: string;
  /** When its manifest was written, as an ISO time. */
  readonly modified: string;
}

export interface FoundDatasets {
  /** New to the stream, oldest first, at most as many as asked for. */
  readonly fresh: readonly FoundDataset[];
  /** New ones that are left for the next run. */
  readonly left: number;
  /** Learned, or submitted by an earlier sweep. */
  readonly known: number;
}

/** What became of one dataset of a sweep: an answer of the stream, or why the stream does not take it. */
export interface SweptDataset {
  readonly uri: string;
  readonly digest: string;
  readonly task: string | null;
  readonly status: TaskStatus;
  /** The stream knew it already. */
  readonly duplicate: boolean;
  readonly message?: string;
}

export interface SweepResult {
  readonly datasets: readonly SweptDataset[];
  readonly left: number;
  readonly known: number;
}

/** Tests what a stream has published on newer test data of its tasks. */
export interface DriftWatchInput {
  readonly schema: typeof SCHEMA;
  readonly stream: string;
  /** Folder with fresh datasets: each is named like the task that it tests. */
  readonly prefix: string;
  /** Points that a task may lose on fresh data. */
  readonly limit?: number;
}

/** What a drift watch works on: the head's bank, and the newest fresh dataset of every task that has one. */
export interface FreshTests {
  readonly definition: ResolvedStream;
  readonly generation: number;
  readonly bank: FileRef;
  readonly fresh: ReadonlyArray<{
    readonly learned: LearnedTask;
    readonly dataset: FoundDataset;
    /** Score on the task's own test split when the head was published, in percent, and over how many samples. */
    readonly published: number;
    readonly count: number | null;
  }>;
  /** The newest measurements of earlier runs, newest first. */
  readonly history: readonly DriftMeasurement[];
  /** Points that a task may lose, and the standard errors that a loss must exceed to be more than chance. */
  readonly limit: number;
  readonly standardErrors: number;
}

/** One task of one generation on one fresh test split. */
export interface DriftMeasurement {
  readonly task: string;
  readonly generation: number;
  readonly dataset: { readonly uri: string; readonly digest: string };
  /** Percent: when it was published, and on the fresh data. */
  readonly published: number;
  readonly now: number;
  readonly count: number;
  /** Points that a loss must exceed to be more than chance. */
  readonly noise: number;
  readonly over: boolean;
  readonly measuredAt: string;
}

export interface DriftReport {
  readonly generation: number | null;
  readonly limit: number;
  readonly measured: readonly DriftMeasurement[];
  /** Fresh datasets that could not be measured, and why. */
  readonly unmeasured: ReadonlyArray<{ readonly task: string; readonly uri: string; readonly message: string }>;
}

/** What compaction keeps. */
export interface RetentionSettings {
  /** Newest generations of a stream, besides its head. */
  readonly keepGenerations: number;
  /** Days after which intermediate results of finished tasks and retired generations go. */
  readonly taskDays: number;
  /** Days after which evaluations, predictions and other caches go, unless a kept generation refers to them. */
  readonly cacheDays: number;
  /** Bytes of caches; the oldest go first. */
  readonly cacheBytes: number;
  /** Days after which an upload that never ended is given up. */
  readonly uploadDays: number;
}

/** Removes what nobody needs any more from the store. */
export interface CompactInput extends Partial<RetentionSettings> {
  readonly schema: typeof SCHEMA;
  /** One stream alone; every stream and the caches that they share when absent. */
  readonly stream?: string;
  /** False, the default: only says what would go. */
  readonly apply?: boolean;
  /** What a predecessor of the same run did. */
  readonly carried?: { readonly after: string; readonly result: CompactResult };
}

/** One compaction of one stream or of what streams share, as it is asked for. */
export interface CompactRequest {
  readonly settings: RetentionSettings;
  readonly apply: boolean;
  /** The run that asks: names its report, so that a repeated attempt goes on with the same plan. */
  readonly run: { readonly id: string; readonly startedAt: string };
}

/** What went, or would go, from one place. */
export interface Compacted {
  /** Stream, or null for what streams share. */
  readonly stream: string | null;
  readonly removed: ReadonlyArray<{ readonly kind: string; readonly count: number; readonly bytes: number }>;
  /** Key of the report in the store: every object with its bytes. Null when there was nothing to remove. */
  readonly report: string | null;
  /** Why nothing was done here. */
  readonly message?: string;
}

export interface CompactResult {
  readonly applied: boolean;
  /** Bytes that went, or would go. */
  readonly bytes: number;
  /** Streams that were looked at. */
  readonly streams: number;
  /** The places with most bytes. */
  readonly parts: readonly Compacted[];
}
