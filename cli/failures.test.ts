import { WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { ActivityFailure, ApplicationFailure, RetryState, WorkflowNotFoundError } from '@temporalio/common';
import { expect, it } from 'vitest';
import { LiloraError } from '../core/errors.ts';
import { readable } from './failures.ts';

it('a failure of ours is one block without a stack', () => {
  const text = readable(new LiloraError('BadDataset', 'dogs/train.json:3: no answer.\n- second problem'), false);
  expect(text).toBe('lilora: BadDataset: dogs/train.json:3: no answer.\n  - second problem');
});

it('the stack comes on request', () => {
  const error = new LiloraError('BadConfig', 'x', { cause: new Error('below') });
  expect(readable(error, true)).toMatch(/failures\.test\.ts[\s\S]*caused by Error: below/);
});

it('a failure that crossed Temporal is the failure that it was', () => {
  const inner = ApplicationFailure.nonRetryable('stream a has a task "b"', 'Conflict');
  const wrapped = new ActivityFailure('failed', 'inspectDataset', '1', RetryState.NON_RETRYABLE_FAILURE, 'w', inner);
  expect(readable(new WorkflowUpdateFailedError('update failed', wrapped), false)).toBe(
    'lilora: Conflict: stream a has a task "b"',
  );
  expect(readable(new WorkflowFailedError('failed', inner, RetryState.NON_RETRYABLE_FAILURE), false)).toContain(
    'Conflict: stream a',
  );
});

it('an unknown stream is named as a person knows it', () => {
  expect(readable(new WorkflowNotFoundError('no', 'lilora/pets', undefined), false)).toMatch(
    /NotFound: Stream pets does not run\..*lilora create/,
  );
});

it('text of others cannot steer the terminal', () => {
  expect(readable(new LiloraError('BadDataset', 'a\u001b[2Jb'), false)).toBe('lilora: BadDataset: a\\u{1b}[2Jb');
});
