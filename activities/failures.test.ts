import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, it } from 'vitest';
import { LiloraError } from '../core/errors.ts';
import { failureWith } from './failures.ts';

/** Whether Temporal tries a step again that fails so at its nth attempt. */
async function triesAgain(error: Error, attempt: number): Promise<boolean> {
  const failure = await new MockActivityEnvironment({ attempt }).run(async () => failureWith(error, {}));
  return failure instanceof ApplicationFailure && !failure.nonRetryable;
}

it('a store that refuses is asked again for about a minute, then a person hears of it', async () => {
  const denied = new LiloraError('StoreDenied', 's3://b: the store answers 403 AccessDenied.');
  expect(await triesAgain(denied, 1)).toBe(true);
  expect(await triesAgain(denied, 6)).toBe(true);
  expect(await triesAgain(denied, 7)).toBe(false);
});

it('what nothing cures is not tried again, what time cures as often as the step allows', async () => {
  expect(await triesAgain(new LiloraError('BadDataset', 'x'), 1)).toBe(false);
  expect(await triesAgain(new LiloraError('StoreUnavailable', 'x'), 14)).toBe(true);
});
