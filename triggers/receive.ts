import type { Logger } from 'pino';
import { type ObjectCreated, type ReadEvents, readEvents } from './events.ts';
import type { Outcome } from './outcome.ts';
import { type Match, match, type Rule } from './rules.ts';
import type { SubmitOptions, Submitter } from './submit.ts';

/** What was seen since the start. */
export interface Counts {
  /** Objects in messages, and messages about something else. */
  events: number;
  /** No `dataset.json` of a rule. */
  ignored: number;
  submitted: number;
  refused: number;
  unavailable: number;
}

export interface Receipt {
  readonly ignored: number;
  readonly tasks: ReadonlyArray<{ readonly stream: string; readonly dataset: string; readonly outcome: Outcome }>;
}

/** From a message to submitted tasks: the part that HTTP, SQS and Lambda share. */
export class Receiver {
  readonly counts: Counts = { events: 0, ignored: 0, submitted: 0, refused: 0, unavailable: 0 };
  private readonly rules: readonly Rule[];
  private readonly submitter: Submitter;
  private readonly log: Logger;

  constructor(rules: readonly Rule[], submitter: Submitter, log: Logger) {
    this.rules = rules;
    this.submitter = submitter;
    this.log = log;
  }

  /** Submits every dataset that a message tells of. `BadEvent` when the message cannot be read. */
  receive(body: Uint8Array | string, options?: SubmitOptions): Promise<Receipt> {
    return this.take(readEvents(body), options);
  }

  async take({ created, others }: ReadEvents, options?: SubmitOptions): Promise<Receipt> {
    const found = created.flatMap((event) => {
      const matched = match(this.rules, event);
      return matched ? [{ event, matched }] : [];
    });
    const ignored = created.length - found.length + others;
    this.counts.events += created.length + others;
    this.counts.ignored += ignored;
    const tasks = await Promise.all(found.map(({ event, matched }) => this.submit(event, matched, options)));
    return { ignored, tasks };
  }

  private async submit(event: ObjectCreated, matched: Match, options?: SubmitOptions) {
    const { dataset, rule } = matched;
    const tell = (outcome: Outcome) => {
      this.counts[outcome.status]++;
      const about = { stream: rule.stream, dataset, etag: event.etag, time: event.time };
      if (outcome.status === 'submitted') {
        const { task, status, duplicate } = outcome.submission;
        this.log.info({ ...about, task, status, duplicate }, 'dataset submitted');
      } else this.log.warn({ ...about, reason: outcome.reason }, `dataset ${outcome.status}`);
    };
    const outcome = await this.submitter.submit(event, matched, { ...options, onLate: tell });
    tell(outcome);
    return { stream: rule.stream, dataset, outcome };
  }
}
