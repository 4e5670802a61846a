import { DEFAULTS } from '../core/defaults.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';

/** A sample that is well formed, but no loss can be taken on its answer with this model's template and tokenizer. */
export class Untrainable extends LiloraError {
  constructor(message: string) {
    super('BadDataset', message);
  }
}

/** How many problems an error message spells out. */
const SHOWN = 20;

/** Thrown inside this folder when so many problems were found that looking on is of no use. */
class TooMany extends Error {}

/** What is wrong with a dataset, gathered so that a person mends everything at once. */
export class Problems {
  private readonly messages: string[] = [];
  private readonly limit: number;

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

  /** Notes an error as a problem when it speaks of the data; lets every other error through. */
  addError(error: unknown): void {
    if (!isLiloraError(error, 'BadDataset') && !isLiloraError(error, 'NotFound')) throw error;
    this.messages.push(error.message);
    if (this.messages.length >= this.limit) throw new TooMany();
  }

  /** Runs one stage of the checks; throws `BadDataset` afterwards if anything was noted so far. */
  async stage<T>(dataset: string, run: () => Promise<T> | T): Promise<T> {
    let result: T | undefined;
    try {
      result = await run();
    } catch (error) {
      if (!(error instanceof TooMany)) throw error;
    }
    if (this.messages.length > 0) throw this.toError(dataset);
    return result as T;
  }

  private toError(dataset: string): LiloraError {
    const { messages, limit } = this;
    const total = messages.length >= limit ? `${limit} problems or more` : `${messages.length} problem(s)`;
    const shown = messages.slice(0, SHOWN).map((message) => `\n  - ${message}`);
    const rest = messages.length > SHOWN ? `\n  and ${messages.length - SHOWN} more` : '';
    return new LiloraError('BadDataset', `${dataset}: ${total} found. Nothing was trained.${shown.join('')}${rest}`);
  }
}

/** A value as it may stand in a message: quoted, without line breaks, not too long. */
export function quote(value: unknown, longest = 80): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}
