import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import type { ActivityInterceptors } from '@temporalio/worker';
import { DEFAULTS } from '../core/defaults.ts';
import { isLiloraError, type LiloraError } from '../core/errors.ts';

/** Gives errors of the closed set to Temporal under their own name, which retry policies and people read. */
export function namedFailures(): ActivityInterceptors {
  return {
    inbound: {
      async execute(input, next) {
        try {
          return await next(input);
        } catch (error) {
          throw isLiloraError(error) ? named(error) : error;
        }
      },
    },
  };
}

/** The failure that Temporal stores, with something for the workflow to know. */
export function failureWith(error: unknown, details: object): Error {
  if (isLiloraError(error)) return named(error, [details]);
  if (error instanceof CancelledFailure) return new CancelledFailure(error.message, [details], error.cause);
  // The SDK knows it as a cancellation.
  if (error instanceof Error && error.name === 'AbortError') return error;
  return ApplicationFailure.fromError(error, { details: [details] });
}

/** Whether a denial that lasts is reported: more attempts would only keep a person from hearing of it. */
function deniedLongEnough(): boolean {
  try {
    return Context.current().info.attempt >= DEFAULTS['store.deniedAttempts'].value;
  } catch {
    return true; // not inside an activity
  }
}

function named(error: LiloraError, details?: unknown[]): ApplicationFailure {
  return ApplicationFailure.create({
    type: error.name,
    message: error.message,
    nonRetryable: !error.retryable || (error.name === 'StoreDenied' && deniedLongEnough()),
    details,
    cause: error.cause instanceof Error ? error.cause : undefined,
  });
}
