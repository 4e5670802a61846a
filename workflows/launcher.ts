import { ActivityFailure, continueAsNew, setCurrentDetails, sleep, workflowInfo } from '@temporalio/workflow';
import { awaitDemand, launchWorker } from './activities.ts';
import { SCHEMA } from './contract.ts';
import type { Launch, LauncherInput } from './launcher-contract.ts';

/** A run rolls over after so many launches, or when the server suggests it. */
const LAUNCHES_PER_RUN = 200;

/**
 * Starts remote gpu workers for one task queue, on platforms that run one function per request. One workflow per queue,
 * so that several orchestrators ask only once; it waits for demand, asks for one worker, and looks again. The workers
 * end by themselves when idle: nothing here ever stops one.
 */
export async function launcher(input: LauncherInput): Promise<void> {
  const { queue } = input;
  let count = input.carried?.count ?? 0;
  let pending: readonly Launch[] = input.carried?.pending ?? [];
  const first = count;
  let note = '';
  const show = (what: string) =>
    setCurrentDetails(
      [`${what}; ${count} started so far, ${pending.length} on their way`, note].filter(Boolean).join('\n\n'),
    );

  while (count - first < LAUNCHES_PER_RUN && !workflowInfo().continueAsNewSuggested) {
    show(`Watching **${queue}**`);
    const demand = await awaitDemand({ queue, pending });
    pending = demand.pending;
    if (demand.verdict === 'closed') return;
    if (demand.verdict === 'none') continue;
    show(`${demand.backlog} tasks wait on **${queue}**, ${demand.workers} workers alive: starting one`);
    // The same key over all retries: a platform that took the request already does not start a second worker.
    const key = `${queue}/${workflowInfo().firstExecutionRunId}/${count}`;
    count++;
    try {
      const { started, retrySeconds, message } = await launchWorker({ queue, key });
      note = message;
      if (started) pending = [...pending, Date.now()];
      else await sleep(retrySeconds * 1000);
    } catch (error) {
      if (!(error instanceof ActivityFailure)) throw error;
      note = `The last start failed: ${error.cause?.message ?? error.message}`;
    }
  }
  await continueAsNew<typeof launcher>({ schema: SCHEMA, queue, carried: { count, pending } });
}
