import { ApplicationFailure } from '@temporalio/workflow';
import { SCHEMA } from './contract.ts';

/** Refuses an input that another version of the product wrote. */
export function mustKnow(schema: unknown): asserts schema is typeof SCHEMA {
  if (schema === SCHEMA) return;
  const message = `This worker understands schema ${SCHEMA}, not ${schema}: update the workers.`;
  throw ApplicationFailure.nonRetryable(message, 'BadConfig');
}
