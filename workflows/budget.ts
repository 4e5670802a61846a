import { ApplicationFailure } from '@temporalio/workflow';
import { BUDGET_FIELDS, type Budget } from '../core/cost.ts';
import type { RaiseBudget, ResolvedStream } from './contract.ts';

/** Refuses what is no change of a budget. */
export function checkLimits(changes: RaiseBudget): void {
  const entries = Object.entries(changes ?? {});
  const known = ([field, limit]: [string, unknown]) =>
    BUDGET_FIELDS.some((wanted) => wanted === field) &&
    (limit === null || (typeof limit === 'number' && Number.isFinite(limit) && limit >= 0));
  if (entries.length === 0 || !entries.every(known))
    throw ApplicationFailure.nonRetryable(
      `raiseBudget needs numbers, or null for no limit: ${BUDGET_FIELDS.join(', ')}.`,
      'BadConfig',
    );
}

/** The budget with the changes made. Limits in money need prices. */
export function changedBudget(
  budget: Budget,
  changes: RaiseBudget,
  { name, prices, gpuQueue }: Pick<ResolvedStream, 'name' | 'prices' | 'gpuQueue'>,
): Budget {
  const changed: Budget = Object.fromEntries(
    Object.entries({ ...budget, ...changes }).filter(([, limit]) => limit !== null),
  );
  const money = changed.taskMoney ?? changed.streamMoney;
  if (money !== undefined && prices?.workers?.[gpuQueue] === undefined)
    throw ApplicationFailure.nonRetryable(
      `Stream ${name} has no price for ${gpuQueue}: give its budget in GPU-seconds.`,
      'BadConfig',
    );
  return changed;
}
