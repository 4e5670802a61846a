/** The workflow of bench/stream: many streams to learn, some of them side by side, each once. */
import { defineQuery, proxyActivities, rootCause, setHandler } from '@temporalio/workflow';
import { inLanes } from '../../core/lanes.ts';
import { RETRY } from '../../workflows/activities.ts';

/** One stream of the comparison: all tasks, learned by one method. */
export interface PlannedStream {
  readonly stream: string;
  /** Line of the table it belongs to. */
  readonly run: string;
  readonly seed: number;
  readonly order: string;
  readonly instructions: string;
}

export interface Comparison {
  readonly streams: readonly PlannedStream[];
  readonly atOnce: number;
}

/** Names of streams that have learned all their tasks, and why others did not. */
export interface Outcome {
  readonly learned: readonly string[];
  readonly failed: ReadonlyArray<{ readonly stream: string; readonly why: string }>;
}

export interface ComparisonActivities {
  /** Defines the stream and submits its tasks, all of which may have happened before; returns when the last is learned. */
  learnStream(planned: PlannedStream): Promise<void>;
}

export const outcomeQuery = defineQuery<Outcome>('outcome');

const { learnStream } = proxyActivities<ComparisonActivities>({
  startToCloseTimeout: '7 days',
  heartbeatTimeout: '30 seconds',
  retry: RETRY.watch,
});

export async function comparison({ streams, atOnce }: Comparison): Promise<Outcome> {
  const [learned, failed]: [string[], Array<Outcome['failed'][number]>] = [[], []];
  setHandler(outcomeQuery, () => ({ learned, failed }));
  await inLanes(atOnce, streams, async (planned) => {
    try {
      await learnStream(planned);
      learned.push(planned.stream);
    } catch (error) {
      // One method that fails is a gap in the table, not the end of it.
      failed.push({ stream: planned.stream, why: rootCause(error) ?? String(error) });
    }
  });
  return { learned, failed };
}
