import { ApplicationFailure, log } from '@temporalio/workflow';
import { BUDGET_FIELDS, type Budget, type Usage } from '../core/cost.ts';
import { NAME_PATTERN, type Progress, type SubmitTask } from './contract.ts';
import type { CompactRequest } from './schedule-contract.ts';

/*
 * Whoever reaches the namespace may send a stream or a task any message. One that is none of ours must harm nobody: updates
 * are refused by a validator, signals, which nobody waits for, are logged and ignored. An error thrown in a handler would
 * fail the workflow's task for ever.
 */

type Fields = Readonly<Record<string, unknown>>;

export const refuse = (message: string, type = 'BadConfig') => ApplicationFailure.nonRetryable(message, type);

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isAmount = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0;
const isTaskName = (value: unknown): value is string => typeof value === 'string' && NAME_PATTERN.test(value);

/** A handler for a signal: of messages that are not as `isOurs` wants them there is only a line in the log. */
export function heard<Message>(
  what: string,
  isOurs: (message: unknown) => message is Message,
  handle: (message: Message) => void,
): (message: Message) => void {
  return (message) => {
    if (isOurs(message)) handle(message);
    else log.warn(`Ignored a signal ${what} that is none.`);
  };
}

/** What a step used, by task queue. */
const isUsage = (value: unknown): value is Usage =>
  isFields(value) &&
  Object.values(value).every(
    (queue) =>
      isFields(queue) && Object.values(queue).every((amount) => typeof amount === 'boolean' || isAmount(amount)),
  );

export const isTaskUsage = (value: unknown): value is { task: string; usage: Usage } =>
  isFields(value) && isTaskName(value['task']) && isUsage(value['usage']);

export function isProgress(value: unknown): value is Progress {
  if (!isFields(value)) return false;
  const { step, steps, loss, spent, round, rounds } = value;
  const isSpent =
    spent === undefined ||
    (isFields(spent) &&
      typeof spent['activity'] === 'string' &&
      typeof spent['queue'] === 'string' &&
      isAmount(spent['seconds']));
  const isLoss = loss === null || loss === undefined || typeof loss === 'number';
  return (
    isAmount(step) &&
    isAmount(steps) &&
    isLoss &&
    isSpent &&
    [round, rounds].every((each) => each === undefined || isAmount(each))
  );
}

export const isBudget = (value: unknown): value is Budget =>
  isFields(value) &&
  Object.entries(value).every(([field, limit]) => BUDGET_FIELDS.some((known) => known === field) && isAmount(limit));

export const isDecision = (value: unknown): value is { decision: 'approve' | 'reject'; reason?: string } =>
  isFields(value) &&
  (value['decision'] === 'approve' || value['decision'] === 'reject') &&
  (value['reason'] === undefined || typeof value['reason'] === 'string');

/** The one argument of an update. */
function fields(message: unknown, shape: string): Fields {
  if (isFields(message)) return message;
  throw refuse(`The update needs ${shape}.`);
}

/** Longest URI of a dataset. */
const LONGEST_URI = 2000;

export function checkSubmission(message: SubmitTask): void {
  const { dataset, task } = fields(message, '{"dataset": "s3://bucket/folder"}');
  if (typeof dataset !== 'string' || dataset === '' || dataset.length > LONGEST_URI)
    throw refuse(`submitTask needs {"dataset": "s3://bucket/folder"}, of at most ${LONGEST_URI} characters.`);
  if (task !== undefined && !isTaskName(task))
    throw refuse('A task name is made of a-z, 0-9 and -, at most 63 of them.');
}

/** The task that an update names. */
export function taskOf(message: { readonly task: string }): string {
  const { task } = fields(message, '{"task": "NAME"}');
  if (!isTaskName(task)) throw refuse('The update needs {"task": "NAME"}, with a-z, 0-9 and -.');
  return task;
}

export function checkDecision(message: unknown): void {
  if (!isDecision(fields(message, '{"task": "NAME", "decision": "approve" or "reject"}')))
    throw refuse('decision is "approve" or "reject", and reason a text.');
}

export function checkGeneration(message: unknown): void {
  const { generation } = fields(message, '{"generation": N}');
  if (!Number.isSafeInteger(generation) || (generation as number) < 1)
    throw refuse('rollback needs {"generation": N}.');
}

export function checkCompaction(message: CompactRequest): void {
  const { run, settings, apply } = fields(message, 'the request of a compact workflow') as unknown as CompactRequest;
  const isRun =
    isFields(run) &&
    typeof run.id === 'string' &&
    /^[\w-]{1,200}$/.test(run.id) &&
    typeof run.startedAt === 'string' &&
    !Number.isNaN(Date.parse(run.startedAt));
  const isWanted =
    typeof apply === 'boolean' && isFields(settings) && Object.values(settings as Fields).every(isAmount);
  if (!isRun || !isWanted || !isAmount(settings.keepGenerations))
    throw refuse('compact is asked by the compact workflow: `lilora schedule create compact`.');
}
