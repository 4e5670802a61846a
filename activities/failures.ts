import { ApplicationFailure } from '@temporalio/activity';
import type { ActivityInterceptors } from '@temporalio/worker';
import { isLiloraError } from '../core/errors.ts';

/** Gives errors of the closed set to Temporal under their own name, which retry policies and people read. */
export function namedFailures(): ActivityInterceptors {
  return {
    inbound: {
      async execute(input, next) {
        try {
          return await next(input);
        } catch (error) {
          if (!isLiloraError(error)) throw error;
          throw ApplicationFailure.create({
            type: error.name,
            message: error.message,
            nonRetryable: !error.retryable,
            cause: error.cause instanceof Error ? error.cause : undefined,
          });
        }
      },
    },
  };
}
