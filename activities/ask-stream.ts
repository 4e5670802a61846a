import { Context } from '@temporalio/activity';
import { WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure, TemporalFailure } from '@temporalio/common';
import { isErrorName, LiloraError } from '../core/errors.ts';
import { streamWorkflowId } from '../workflows/contract.ts';
import { beating } from './context.ts';

/**
 * Sends an update to a stream from within an activity and waits for the answer; null when the stream does not run.
 * Its refusals are of the closed set again. @param id the same id asks once, however often it is sent
 */
export async function askStream<Result, Request>(
  stream: string,
  update: string,
  request: Request,
  id: string,
): Promise<Result | null> {
  const handle = Context.current().client.workflow.getHandle(streamWorkflowId(stream));
  try {
    return await beating(() => handle.executeUpdate<Result, [Request]>(update, { args: [request], updateId: id }));
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    if (!(error instanceof WorkflowUpdateFailedError)) throw error;
    let cause: unknown = error.cause;
    while (cause instanceof TemporalFailure && !(cause instanceof ApplicationFailure) && cause.cause)
      cause = cause.cause;
    if (cause instanceof ApplicationFailure && isErrorName(cause.type))
      throw new LiloraError(cause.type, cause.message, { cause: error });
    throw cause ?? error;
  }
}

/** What to say of a stream that does not run. */
export function notRunning(stream: string): LiloraError {
  return new LiloraError(
    'NotFound',
    `Stream ${stream} does not run. Start it with \`lilora create\`, then resume the schedule.`,
  );
}
