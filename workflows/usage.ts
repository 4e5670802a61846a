import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  defineSignal,
  getExternalWorkflowHandle,
  TimeoutFailure,
  workflowInfo,
} from '@temporalio/workflow';
import { type Measured, openUsage, type StepUsage, sumUsage, type Usage, usageOf } from '../core/cost.ts';
import { type Progress, SIGNALS } from './contract.ts';

export const taskUsageSignal = defineSignal<[{ task: string; usage: Usage }]>(SIGNALS.taskUsage);

type Untold<Result> = Result extends object ? Omit<Result, 'usage'> : Result;

/** Activities as workflows see them: what a step used is taken out of its result. */
type Metered<Activities> = {
  [Name in keyof Activities]: Activities[Name] extends (...input: infer Input) => Promise<infer Result>
    ? (...input: Input) => Promise<Untold<Result>>
    : never;
};

/**
 * What the steps of a workflow run used: summed from their results and failures, and from the progress signals of steps
 * that have not ended. Results of workers that measure nothing add nothing. It makes no command, so histories replay.
 */
class Ledger {
  private closed: Usage = {};
  private readonly known = new Set<string>();
  /** Steps that have not ended, by activity: the last that was heard of them. */
  private readonly open = new Map<string, Usage>();

  /** Adds what others used: a former run, a child. */
  carry(usage: Usage | undefined): void {
    if (usage) this.closed = sumUsage(this.closed, usage);
  }

  add(step: StepUsage | undefined): void {
    if (!step || this.known.has(step.activity)) return;
    this.known.add(step.activity);
    this.open.delete(step.activity);
    this.carry(usageOf(step));
  }

  /** Late news of a step that has ended is no news. */
  hear({ spent }: Progress): void {
    if (spent && !this.known.has(spent.activity)) this.open.set(spent.activity, openUsage(spent.queue, spent.seconds));
  }

  usage(): Usage {
    return sumUsage(this.closed, ...this.open.values());
  }
}

/** The ledger of this run: every run has modules of its own. */
export const ledger = new Ledger();

/** Wraps proxied activities of a task queue: what their steps used goes into the ledger. */
export function metered<Activities extends object>(
  activities: Activities,
  at: Pick<StepUsage, 'queue' | 'gpu'>,
): Metered<Activities> {
  type Step = (...input: unknown[]) => Promise<{ usage?: StepUsage } | null>;
  const steps = activities as Record<string, Step>;
  const get = (_: object, name: string) => {
    const step = steps[name]!;
    return async (...input: unknown[]) => {
      try {
        const told = await step(...input);
        if (!told) return told;
        const { usage, ...result } = told;
        ledger.add(usage);
        return result;
      } catch (error) {
        ledger.add(toldBy(error, at));
        throw error;
      }
    };
  };
  return new Proxy({}, { get }) as Metered<Activities>;
}

/** Runs a task and adds to its result what was used. A task without a result has cost something, too: its stream hears of it. */
export async function accounted<Result extends object>(
  task: string,
  work: () => Promise<Result>,
): Promise<Result & { usage: Usage }> {
  try {
    const result = await work();
    return { ...result, usage: ledger.usage() };
  } catch (error) {
    const { parent } = workflowInfo();
    const usage = ledger.usage();
    if (parent && Object.keys(usage).length > 0)
      await CancellationScope.nonCancellable(() =>
        getExternalWorkflowHandle(parent.workflowId).signal(taskUsageSignal, { task, usage }),
      ).catch(() => {}); // the stream is gone
    throw error;
  }
}

/** Whether a step failed because its worker was not heard of any more. */
export const wasLost = (error: unknown) => error instanceof ActivityFailure && error.cause instanceof TimeoutFailure;

/** What a step without a result told of itself: with its failure, or of a lost one with its last heartbeat. */
function toldBy(error: unknown, at: Pick<StepUsage, 'queue' | 'gpu'>): StepUsage | undefined {
  if (!(error instanceof ActivityFailure)) return undefined;
  const { cause, activityId: activity = '', identity: worker = '' } = error;
  if (cause instanceof ApplicationFailure || cause instanceof CancelledFailure)
    return (cause.details?.[0] as { usage?: StepUsage } | undefined)?.usage;
  if (!(cause instanceof TimeoutFailure)) return undefined;
  const spent = (cause.lastHeartbeatDetails as { spent?: Measured } | undefined)?.spent;
  return spent && { activity, worker, ...at, startedAt: '', ...spent, seconds: 0, lostSeconds: spent.seconds };
}
