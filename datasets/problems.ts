import { DEFAULTS } from '../core/defaults.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';

/** A sample that is well formed, but no loss can be taken on its answer with this model's template and tokenizer. */
export class Untrainable extends LiloraError {
  constructor(message: string) {
    super('BadDataset', message);
  }
}

/** What is wrong somewhere. */
export interface Problem {
  readonly text: string;
  /** The sample that stands there, as JSON, shortened; of the first problems. */
  readonly sample?: string | undefined;
}

/** A dataset that is refused, with everything that was found. */
export class RefusedDataset extends LiloraError {
  readonly problems: readonly Problem[];

  constructor(message: string, problems: readonly Problem[]) {
    super('BadDataset', message);
    this.problems = problems;
  }
}

/** How many problems an error message spells out. */
const SHOWN = 20;

/** Samples with problems that are kept, and characters of each and of a text in it. */
const KEPT = 50;
const LONGEST = { sample: 2000, text: 300 };

/** A sample as JSON, however large it is. */
function shortened(sample: unknown): string {
  const part = function (this: Record<string, unknown>, key: string, value: unknown) {
    const own = this[key];
    if (own instanceof Uint8Array) return `(${own.byteLength} bytes)`;
    if (typeof own === 'bigint') return String(own);
    return typeof value === 'string' && value.length > LONGEST.text ? `${value.slice(0, LONGEST.text)}…` : value;
  };
  const text = JSON.stringify(sample, part, 1) ?? String(sample);
  return text.length > LONGEST.sample ? `${text.slice(0, LONGEST.sample)}…` : text;
}

/** Thrown inside this folder when so many problems were found that looking on is of no use. */
class TooMany extends Error {}

/** Codes of a system that has run out of something: on another machine, or later, the same may succeed. */
const OF_THE_MACHINE = new Set(['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'ENOMEM', 'EROFS', 'EAGAIN']);

/**
 * What was thrown while a dataset was read, as an error of the closed set. Those that have a name keep it; a disk that is
 * full is nobody's data; everything else comes of what was read and comes again, so it is `BadDataset`.
 */
function inReading(error: unknown, where: string): LiloraError {
  if (isLiloraError(error)) return error;
  const { code, message = String(error) } = (error ?? {}) as NodeJS.ErrnoException;
  const said = message.split('\n')[0]!.slice(0, 200);
  if (code !== undefined && OF_THE_MACHINE.has(code))
    return new LiloraError('StoreUnavailable', `${where}: this machine cannot keep what is read (${said}). Free it.`, {
      cause: error,
    });
  return new LiloraError('BadDataset', `${where}: it cannot be read (${said}). Correct it, or take it out.`, {
    cause: error,
  });
}

/** A key of samples that was not read: bookkeeping that nothing is learned from, or what `ignore` of the manifest names. */
export interface LeftOutKey {
  /** As people find it: `source`, or `messages[].metadata` within a list. */
  readonly key: string;
  readonly why: 'bookkeeping' | 'ignore';
  /** Samples in which it holds something. */
  readonly samples: number;
  /** The first of them: file, line or index. */
  readonly where: string;
}

/** What is wrong with a dataset, gathered so that a person mends everything at once. */
export class Problems {
  private readonly messages: string[] = [];
  private readonly limit: number;
  private readonly keys = new Map<string, LeftOutKey>();
  /** By place. */
  private readonly samples = new Map<string, string>();

  constructor(limit: number = DEFAULTS['dataset.maxProblems'].value) {
    this.limit = limit;
  }

  get count(): number {
    return this.messages.length;
  }

  /**
   * Notes a problem.
   * @param where file, line or index, and sample id
   * @param what what is wrong there, and what to do about it
   */
  add(where: string, what: string): void {
    this.messages.push(`${where}: ${what}`);
    if (this.messages.length >= this.limit) throw new TooMany();
  }

  /** Keeps what stands at a place where something is wrong, of the first few: a person wants to see it. */
  keepSample(where: string, sample: unknown): void {
    if (this.samples.size < KEPT) this.samples.set(where, shortened(sample));
  }

  /** Notes that samples hold something under a key that was left out, which is no problem but must be told. */
  leaveOut(key: string, why: LeftOutKey['why'], samples: number, where: string): void {
    const before = this.keys.get(`${why} ${key}`);
    this.keys.set(
      `${why} ${key}`,
      before ? { ...before, samples: before.samples + samples } : { key, why, samples, where },
    );
  }

  /** What of the samples was left out, in the order in which it was met. */
  get leftOutKeys(): readonly LeftOutKey[] {
    return [...this.keys.values()];
  }

  /**
   * Notes an error as a problem of the data, and lets those through that no mending of it cures: of the store, the model,
   * the disk of this machine.
   * @param where the file or the sample that was read: told where the error does not say it itself
   */
  addError(error: unknown, where?: string): void {
    if (error instanceof TooMany) throw error;
    const named = inReading(error, where ?? 'the dataset');
    if (!isLiloraError(named, 'BadDataset') && !isLiloraError(named, 'NotFound')) throw named;
    const { message } = named;
    this.messages.push(where === undefined || message.startsWith(where) ? message : `${where}: ${message}`);
    if (this.messages.length >= this.limit) throw new TooMany();
  }

  /** Runs one stage of the checks; throws `BadDataset` afterwards if anything was noted so far. */
  async stage<T>(dataset: string, run: () => Promise<T> | T): Promise<T> {
    let result: T | undefined;
    try {
      result = await run();
    } catch (error) {
      if (!(error instanceof TooMany)) throw inReading(error, dataset);
    }
    if (this.messages.length > 0) throw this.toError(dataset);
    return result as T;
  }

  private toError(dataset: string): LiloraError {
    const { messages, limit } = this;
    const total = messages.length >= limit ? `${limit} problems or more` : `${messages.length} problem(s)`;
    const shown = messages.slice(0, SHOWN).map((message) => `\n  - ${message}`);
    const rest = messages.length > SHOWN ? `\n  and ${messages.length - SHOWN} more` : '';
    const all = messages.map((text) => ({ text, sample: this.sampleOf(text) }));
    return new RefusedDataset(`${dataset}: ${total} found. Nothing was trained.${shown.join('')}${rest}`, all);
  }

  private sampleOf(message: string): string | undefined {
    for (const [where, sample] of this.samples) if (message.startsWith(`${where}: `)) return sample;
    return undefined;
  }
}

/** A value as it may stand in a message: quoted, without line breaks, not too long. */
export function quote(value: unknown, longest = 80): string {
  const text = JSON.stringify(value, sayable) ?? String(value);
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

/** What JSON cannot say, in words. A buffer has become JSON by itself before it comes here, so its owner is asked. */
function sayable(this: Readonly<Record<string, unknown>>, key: string, value: unknown): unknown {
  const own = this[key];
  if (own instanceof Uint8Array) return `${own.byteLength} bytes`;
  return typeof value === 'bigint' ? String(value) : value;
}
