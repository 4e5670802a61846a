import { condition, isCancellation } from '@temporalio/workflow';
import type { Trouble } from './contract.ts';
import { causeOf } from './failures.ts';

/** Between two tries, in milliseconds: the first pause, and the longest. */
const FIRST = 15_000;
const LONGEST = 5 * 60_000;

/**
 * Work that a stream cannot do without, tried until it succeeds. What its activities report after their own retries only
 * a person or time can mend (rights, a bucket, a damaged object): no reason to end a stream and lose its queue.
 */
export class Patience {
  /** What keeps the work from succeeding; null while nothing does. */
  trouble: Trouble | null = null;
  private now = false;
  private readonly show: () => void;

  /** @param show called whenever `trouble` changes */
  constructor(show: () => void) {
    this.show = show;
  }

  /** The next try follows at once: a person has mended something. */
  hurry(): void {
    this.now = true;
  }

  async until<T>(work: () => Promise<T>): Promise<T> {
    for (let pause = FIRST; ; pause = Math.min(2 * pause, LONGEST)) {
      try {
        const done = await work();
        this.tell(null);
        return done;
      } catch (error) {
        if (isCancellation(error)) throw error;
        const { type, message } = causeOf(error);
        this.tell({ since: this.trouble?.since ?? new Date().toISOString(), message: `${type}: ${message}` });
      }
      this.now = false;
      await condition(() => this.now, pause);
    }
  }

  private tell(trouble: Trouble | null): void {
    this.trouble = trouble;
    this.show();
  }
}
