import type { FileRef } from './contract.ts';

/* Parts of a stream definition. */

/** Who shares workers with whom. Work of different keys is taken up in turn, in proportion to the weights. */
export interface FairnessSettings {
  /** Streams of one tenant have one key; the stream's name when absent. */
  readonly key: string;
  readonly weight: number;
}

/** A bank of tasks that a stream starts from instead of from nothing. */
export interface StreamStart {
  /** An object of the stream's store: what `lilora create --start` put there, or the bank of another stream. */
  readonly bank: FileRef;
  /** Datasets of tasks in it, by task: they are evaluated first, and guarded by the gate from then on. */
  readonly datasets?: Readonly<Record<string, string>>;
}

/** With the names of its tasks, in the order of learning. */
export interface ResolvedStart extends StreamStart {
  readonly tasks: readonly string[];
}
