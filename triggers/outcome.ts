import { type Client, WorkflowFailedError, WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure, TemporalFailure } from '@temporalio/common';
import { isErrorName, LiloraError } from '../core/errors.ts';
import { type Submission, streamWorkflowId } from '../workflows/contract.ts';

/**
 * What became of a dataset that landed. `refused`: repeating it changes nothing until a person has done what the reason
 * says. `unavailable`: the sender may come again.
 */
export type Outcome =
  | { readonly status: 'submitted'; readonly submission: Submission }
  | { readonly status: 'refused' | 'unavailable'; readonly reason: string };

/** The outcome that a failed update-with-start means. Never fails itself. */
export async function outcomeOf(error: unknown, client: Client, stream: string): Promise<Outcome> {
  if (error instanceof WorkflowNotFoundError)
    return {
      status: 'unavailable',
      reason: `Stream ${stream} does not run. Define it with \`lilora create ${stream}\`, or put its definition into the rule.`,
    };
  const failure = named(error) ?? (await named(await closingFailure(error, client, stream)));
  if (failure && !failure.retryable) return { status: 'refused', reason: `${failure.name}: ${failure.message}` };
  const text = failure?.message ?? (error instanceof Error ? `${error.message}${causeText(error)}` : String(error));
  return { status: 'unavailable', reason: text };
}

/** A stream that ends while it takes an update (its definition is wrong) says why only as its own result. */
async function closingFailure(error: unknown, client: Client, stream: string): Promise<unknown> {
  if (!(error instanceof WorkflowUpdateFailedError)) return null;
  const handle = client.workflow.getHandle(streamWorkflowId(stream));
  try {
    const { status } = await handle.describe();
    if (status.name === 'FAILED') await handle.result();
    return null;
  } catch (failure) {
    return failure;
  }
}

/** The failure of our closed set below Temporal's wrappers, if it is one. */
function named(error: unknown): LiloraError | null {
  const wrapped = error instanceof WorkflowUpdateFailedError || error instanceof WorkflowFailedError;
  let cause: unknown = wrapped ? error.cause : error;
  while (cause instanceof TemporalFailure && !(cause instanceof ApplicationFailure) && cause.cause) cause = cause.cause;
  if (!(cause instanceof ApplicationFailure) || !isErrorName(cause.type)) return null;
  return new LiloraError(cause.type, cause.message);
}

const causeText = (error: Error) => (error.cause instanceof Error ? `: ${error.cause.message}` : '');
