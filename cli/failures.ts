import {
  ServiceError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
} from '@temporalio/client';
import { ApplicationFailure, TemporalFailure } from '@temporalio/common';
import { isErrorName, isLiloraError, LiloraError } from '../core/errors.ts';
import { visible } from '../report/markup.ts';

/** One readable block for a person: which failure, what is wrong, what to do. The stack only on request. */
export function readable(error: unknown, debug: boolean): string {
  const known = translate(error);
  const text = isLiloraError(known) ? `${known.name}: ${known.message}` : unexpected(known);
  const block = visible(`lilora: ${text}`).replace(/\n(?!\s)/g, '\n  ');
  if (!debug) return block;
  return `${block}\n\n${error instanceof Error ? (error.stack ?? '') : String(error)}${causes(error)}`;
}

function unexpected(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return `${text || 'an unknown failure'}\n(Set LILORA_DEBUG=1 to see where it came from.)`;
}

function causes(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error ? `\ncaused by ${cause.stack ?? cause.message}${causes(cause)}` : '';
}

/** Failures of Temporal as failures of ours, where they are ours or mean something to a person. */
export function translate(error: unknown): unknown {
  if (error instanceof WorkflowUpdateFailedError || error instanceof WorkflowFailedError) {
    const failure = innermost(error.cause);
    if (failure instanceof ApplicationFailure && isErrorName(failure.type))
      return new LiloraError(failure.type, failure.message, { cause: error });
    return failure ?? error;
  }
  if (error instanceof WorkflowNotFoundError) {
    const what = /^lilora\/([^/]+)$/.exec(error.workflowId)?.[1];
    const next = 'See `lilora status` for those that run, or define one with `lilora create`.';
    return new LiloraError('NotFound', `${what ? `Stream ${what}` : error.workflowId} does not run. ${next}`, {
      cause: error,
    });
  }
  if (error instanceof ServiceError && /deadline|timed? ?out/i.test(`${error.message} ${causeText(error)}`))
    return new LiloraError(
      'BadConfig',
      'No orchestrator worker answered in time. Start one with `lilora worker orchestrator` (`lilora dev` runs one).',
      { cause: error },
    );
  return error;
}

function causeText(error: Error): string {
  return error.cause instanceof Error ? error.cause.message : '';
}

function innermost(error: unknown): unknown {
  let found = error;
  while (found instanceof TemporalFailure && !(found instanceof ApplicationFailure) && found.cause) found = found.cause;
  return found;
}
