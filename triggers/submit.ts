import { setTimeout as delay } from 'node:timers/promises';
import { type Client, WithStartWorkflowOperation } from '@temporalio/client';
import { LRUCache } from 'lru-cache';
import pLimit, { type LimitFunction } from 'p-limit';
import { DEFAULTS } from '../core/defaults.ts';
import { sha256 } from '../core/digest.ts';
import { canonicalJson } from '../core/json.ts';
import {
  QUEUES,
  SCHEMA,
  type StreamInput,
  type Submission,
  type SubmitTask,
  streamWorkflowId,
  UPDATES,
  WORKFLOWS,
} from '../workflows/contract.ts';
import type { ObjectCreated } from './events.ts';
import { type Outcome, outcomeOf } from './outcome.ts';
import type { Match, Rule } from './rules.ts';

type StreamWorkflow = (input: StreamInput) => Promise<void>;

const SECOND = 1000;
const ANSWER = DEFAULTS['trigger.answerSeconds'].value * SECOND;
const GIVE_UP = DEFAULTS['trigger.submitMinutes'].value * 60 * SECOND;
/** Waits between two attempts of one submission, in milliseconds; the last one repeats. */
const BACK_OFF = [500, 1_000, 2_000, 5_000, 15_000, 30_000];
/** Longest single call to Temporal: a worker may be starting. */
const CALL = 30 * SECOND;

/** A submission that is under way, and why it has not got through yet. */
interface Pending {
  readonly work: Promise<Outcome>;
  reason: string;
}

export interface SubmitOptions {
  /** The outcome is `unavailable` when there is none by then, in milliseconds; the submission goes on. */
  readonly answerWithin?: number;
  /** The message came before and was refused: try again under a new update id, because a failed update stays failed. */
  readonly again?: boolean;
  /** Told the outcome that came after the answer. */
  readonly onLate?: (outcome: Outcome) => void;
}

/**
 * The id of the update that an event becomes: the same event has the same id, so that Temporal answers it with the first
 * one. Writing the same bytes again is another event; then the stream itself knows the dataset by its digest.
 */
export function updateId(stream: string, { bucket, key, etag, sequencer, time }: ObjectCreated): string {
  return `event-${sha256(canonicalJson([stream, bucket, key, etag, sequencer, time])).slice(0, 32)}`;
}

/**
 * Submits datasets to their streams. However often and in whatever order an event comes, it is one update: those under
 * way are joined, recent ones are answered from memory, older ones by Temporal, which knows the update's id.
 */
export class Submitter {
  private readonly client: Client;
  private readonly pending = new Map<string, Pending>();
  private readonly settled = new LRUCache<string, Outcome>({
    max: DEFAULTS['trigger.pending'].value,
    ttl: DEFAULTS['trigger.rememberMinutes'].value * 60 * SECOND,
  });
  private readonly lanes = new Map<string, LimitFunction>();
  /** The last submission of each dataset: two versions of it go to their stream one after the other. */
  private readonly last = new Map<string, Promise<Outcome>>();
  private readonly stopped = new AbortController();
  private readonly cut = new AbortController();
  private health = { at: 0, answer: Promise.resolve(false) };

  constructor(client: Client) {
    this.client = client;
  }

  /** Resolves when Temporal holds the submission, or says why not. Never fails. */
  async submit(event: ObjectCreated, match: Match, options: SubmitOptions = {}): Promise<Outcome> {
    const id = updateId(match.rule.stream, event);
    const known = this.settled.get(id);
    if (known && !(options.again && known.status === 'refused')) return known;
    const found = this.pending.get(id) ?? this.start(id, match, options.again ?? false);
    if (!found) return { status: 'unavailable', reason: 'Too many submissions are waiting.' };
    const late = new AbortController();
    const answer = await Promise.race([
      found.work,
      delay(options.answerWithin ?? ANSWER, null, { signal: late.signal }).catch(() => null),
    ]);
    late.abort();
    if (answer) return answer;
    void found.work.then((outcome) => options.onLate?.(outcome));
    return { status: 'unavailable', reason: found.reason };
  }

  private start(id: string, match: Match, again: boolean): Pending | null {
    if (this.pending.size >= DEFAULTS['trigger.pending'].value) return null;
    const { rule, dataset } = match;
    const place = `${rule.stream} ${dataset}`;
    const work = Promise.resolve(this.last.get(place))
      .then(() => this.attempts(id, match, again))
      .then((outcome) => {
        if (outcome.status !== 'unavailable') this.settled.set(id, outcome);
        this.pending.delete(id);
        if (this.last.get(place) === work) this.last.delete(place);
        return outcome;
      });
    const pending: Pending = { work, reason: 'Temporal or its workers did not answer in time.' };
    this.pending.set(id, pending);
    this.last.set(place, work);
    return pending;
  }

  private async attempts(id: string, { rule, dataset }: Match, again: boolean): Promise<Outcome> {
    const end = Date.now() + GIVE_UP;
    let outcome = await this.update(rule, dataset, id);
    if (again && outcome.status === 'refused') outcome = await this.update(rule, dataset, `${id}-${Date.now()}`);
    for (let failures = 0; outcome.status === 'unavailable'; failures++) {
      this.pending.get(id)!.reason = outcome.reason;
      const wait = BACK_OFF[Math.min(failures, BACK_OFF.length - 1)]! * (0.75 + Math.random() / 2);
      if (Date.now() + wait > end || this.stopped.signal.aborted) break;
      await delay(wait, null, { signal: this.stopped.signal }).catch(() => null);
      outcome = await this.update(rule, dataset, id);
    }
    return outcome;
  }

  private update(rule: Rule, dataset: string, id: string): Promise<Outcome> {
    const { stream } = rule;
    const lane = this.lanes.get(stream) ?? pLimit(DEFAULTS['trigger.streamUpdates'].value);
    this.lanes.set(stream, lane);
    return lane(async () => {
      try {
        const send = () =>
          rule.definition ? this.updateWithStart(rule, dataset, id) : this.updateRunning(stream, dataset, id);
        const submission = await this.client.withAbortSignal(this.cut.signal, () =>
          this.client.withDeadline(Date.now() + CALL, send),
        );
        return { status: 'submitted', submission } as const;
      } catch (error) {
        if (this.cut.signal.aborted) return { status: 'unavailable', reason: 'This process is stopping.' } as const;
        return outcomeOf(error, this.client, stream);
      }
    });
  }

  private updateRunning(stream: string, dataset: string, updateId: string): Promise<Submission> {
    return this.client.workflow
      .getHandle(streamWorkflowId(stream))
      .executeUpdate<Submission, [SubmitTask]>(UPDATES.submitTask, { args: [{ dataset }], updateId });
  }

  private updateWithStart({ stream, definition }: Rule, dataset: string, updateId: string): Promise<Submission> {
    const startWorkflowOperation = new WithStartWorkflowOperation<StreamWorkflow>(WORKFLOWS.stream, {
      workflowId: streamWorkflowId(stream),
      taskQueue: QUEUES.orchestrator,
      args: [{ schema: SCHEMA, definition: definition! }],
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      staticSummary: `Stream ${stream}`,
    });
    return this.client.workflow.executeUpdateWithStart<StreamWorkflow, Submission, [SubmitTask]>(UPDATES.submitTask, {
      args: [{ dataset }],
      updateId,
      startWorkflowOperation,
    });
  }

  /** True when Temporal answers within two seconds. It is asked at most once a second. */
  healthy(): Promise<boolean> {
    if (Date.now() - this.health.at > SECOND) this.health = { at: Date.now(), answer: this.askTemporal() };
    return this.health.answer;
  }

  private async askTemporal(): Promise<boolean> {
    const { connection, options } = this.client;
    const ask = () => connection.workflowService.describeNamespace({ namespace: options.namespace });
    return this.client.withDeadline(Date.now() + 2 * SECOND, ask).then(
      () => true,
      () => false,
    );
  }

  /** Makes no new attempts, and breaks off those that run after so many milliseconds. */
  async stop(grace: number): Promise<void> {
    this.stopped.abort();
    const end = setTimeout(() => this.cut.abort(), grace);
    await Promise.all([...this.pending.values()].map(({ work }) => work));
    clearTimeout(end);
  }
}
